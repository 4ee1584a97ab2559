//! One attempt of a request where at least one side speaks HTTP/2: the request on its way up and the response on its way
//! down, both at once, and the time-outs of both. What each side speaks is behind [`Client`], [`Upstream`] and the bodies.
//! A call's own deadline is looked at whenever the request is: an alarm sees to it that this happens in time.
//! (Between two sides of text, `transfer` does the same without taking bodies out of their framing.)

use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::Response;
use mesher_actors::snapshot::Failure;

use super::flow::{Broken, Closed, Lost, Pump, Sink, Source};
use super::grpc;
use super::interims::{Interims, bytes_of};
use crate::handler::Reply;
use crate::net::{self, Deadline};

/// Who has asked: takes the response.
pub(super) trait Client: Sink {
    /// Takes an interim (1xx) response.
    fn interim(&mut self, head: Response<()>) -> Result<(), Closed>;

    /// Takes the head of the final response; `end` if no body follows.
    fn begin(&mut self, head: Response<()>, end: bool) -> Result<(), Closed>;

    /// Ready once it does not want the response any more; `sending` while its request is being read.
    fn poll_gone(&mut self, cx: &mut Context<'_>, sending: bool) -> Poll<()>;
}

/// Who is asked: the response comes from there, its body as from any source.
pub(super) trait Upstream: Source {
    /// The next head, and whether nothing follows it. The last one is that of the final response.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Response<()>, bool), Lost>>;

    /// The request has gone; the response is awaited.
    fn request_sent(&mut self);

    /// Where it is.
    fn peer_addr(&self) -> SocketAddr;
}

/// How long to wait for what. Zero means for ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the request having gone to the response head.
    pub(super) response: Duration,
    /// Silence in the midst of bodies.
    pub(super) idle: Duration,
    /// The client gives up then; its task is woken.
    pub(super) until: Option<Instant>,
}

impl Patience {
    /// The client has given up.
    pub(super) fn is_late(&self) -> bool {
        self.until.is_some_and(|until| net::now() >= until)
    }
}

/// It passes after that time, zero being never.
pub(super) fn arm(deadline: &Deadline, timeout: Duration) {
    if timeout.is_zero() {
        deadline.disarm();
    } else {
        deadline.arm(net::now() + timeout);
    }
}

/// What is said to a call whose deadline has passed.
pub(super) fn late() -> Reply {
    Reply::new(Failure::UpstreamTimeout, "the call's deadline has passed (grpc-timeout)")
}

/// Why an attempt ended early.
#[derive(Debug)]
pub(super) enum Failed {
    /// The upstream's fault.
    Upstream(Lost),
    /// The client is gone.
    ClientGone,
    /// The client, or time; this is to be answered if nothing was yet.
    Reply(Reply),
}

/// What of a response has passed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Passed {
    /// Status of the final response; 0 before it has begun.
    pub(super) status: u16,
    /// Outcome of the call, if it is one of gRPC and has told.
    pub(super) grpc_status: Option<u8>,
}

/// An attempt under way.
pub(super) struct Relay<'a, B, C, W, U> {
    /// The request's body.
    body: &'a mut B,
    /// How far it has come; outlives the attempt.
    upload: &'a mut Pump,
    client: &'a mut C,
    /// Takes the request's body.
    writer: W,
    upstream: U,
    download: Pump,
    deadline: &'a Deadline,
    patience: Patience,
    passed: Passed,
    uploaded: bool,
    /// The upstream stopped taking the request; it may have answered all the same.
    refused: bool,
    interims: Interims,
    /// Bytes moved either way when the time-out was last set.
    moved: u64,
}

impl<'a, B: Source, C: Client, W: Sink, U: Upstream> Relay<'a, B, C, W, U> {
    /// The head of the request is on its way to `upstream`, or goes out with the first bytes of `writer`.
    pub(super) fn new(
        (body, upload): (&'a mut B, &'a mut Pump),
        client: &'a mut C,
        (writer, upstream): (W, U),
        deadline: &'a Deadline,
        patience: Patience,
    ) -> Self {
        let mut relay = Self {
            body,
            upload,
            client,
            writer,
            upstream,
            download: Pump::default(),
            deadline,
            patience,
            passed: Passed::default(),
            uploaded: false,
            refused: false,
            interims: Interims::default(),
            moved: 0,
        };
        relay.moved = relay.upload.moved();
        relay.arm(patience.idle);
        relay
    }

    /// The whole request was taken by the upstream.
    pub(super) fn is_uploaded(&self) -> bool {
        self.uploaded && !self.refused
    }

    /// What of the response has passed.
    pub(super) fn passed(&self) -> Passed {
        Passed { grpc_status: self.download.grpc_status().or(self.passed.grpc_status), ..self.passed }
    }

    /// The head of the final response is on its way to the client: nothing else can be answered any more.
    pub(super) fn is_begun(&self) -> bool {
        self.passed.status != 0
    }

    /// The side of the upstream.
    pub(super) fn upstream(&self) -> &U {
        &self.upstream
    }

    /// What has taken the request's body.
    pub(super) fn into_writer(self) -> W {
        self.writer
    }

    /// Moves on, both ways. Ready when the response is delivered.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        if !self.uploaded {
            match self.upload.poll(cx, self.body, &mut self.writer) {
                Poll::Ready(Ok(())) => self.request_sent(),
                Poll::Ready(Err(Broken::Sink)) => {
                    self.refused = true;
                    self.request_sent();
                }
                Poll::Ready(Err(Broken::Source(lost))) => return Poll::Ready(Err(of_client(lost))),
                Poll::Pending => {}
            }
        } else if self.refused {
            self.body.gather(cx);
        }
        match self.poll_response(cx) {
            // The upstream keeps the same deadline: what ends then ends for that reason, whoever is first.
            Poll::Ready(Err(Failed::Upstream(_))) if self.patience.is_late() => {
                return Poll::Ready(Err(Failed::Reply(late())));
            }
            Poll::Ready(result) => return Poll::Ready(result),
            Poll::Pending => self.note_movement(),
        }
        if self.client.poll_gone(cx, !self.uploaded).is_ready() {
            return Poll::Ready(Err(Failed::ClientGone));
        }
        if self.patience.is_late() {
            return Poll::Ready(Err(Failed::Reply(late())));
        }
        self.deadline.poll_expired(cx).map(|()| Err(self.expired()))
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        while !self.is_begun() {
            let (head, end) = match self.upstream.poll_head(cx) {
                Poll::Ready(Ok(head)) => head,
                Poll::Ready(Err(lost)) => return Poll::Ready(Err(Failed::Upstream(lost))),
                Poll::Pending => {
                    // A client may wait for an interim response before it goes on.
                    return match self.client.poll_flushed(cx) {
                        Poll::Ready(Err(Closed)) => Poll::Ready(Err(Failed::ClientGone)),
                        _ => Poll::Pending,
                    };
                }
            };
            if let Err(failed) = self.take_head(head, end) {
                return Poll::Ready(Err(failed));
            }
        }
        self.download.poll(cx, &mut self.upstream, self.client).map_err(|broken| match broken {
            Broken::Source(lost) => Failed::Upstream(lost),
            Broken::Sink => Failed::ClientGone,
        })
    }

    fn take_head(&mut self, head: Response<()>, end: bool) -> Result<(), Failed> {
        if head.status().is_informational() {
            if !self.interims.admit(bytes_of(head.headers())) {
                let peer = self.upstream.peer_addr();
                let detail = format!("{peer} sent too many interim responses, or too large ones");
                return Err(Failed::Upstream(Lost::upstream(Failure::UpstreamProtocolError, detail)));
            }
            return self.client.interim(head).map_err(|_| Failed::ClientGone);
        }
        self.upload.settle();
        self.passed.status = head.status().as_u16();
        if end {
            self.passed.grpc_status = grpc::status(head.headers());
            self.download = Pump::ending();
        }
        self.touch();
        self.client.begin(head, end).map_err(|_| Failed::ClientGone)
    }

    /// From here on the upstream's time runs.
    fn request_sent(&mut self) {
        self.uploaded = true;
        self.upstream.request_sent();
        if !self.is_begun() {
            // A call's own deadline stands for ours.
            let response =
                if self.patience.until.is_some() { Duration::ZERO } else { self.patience.response };
            self.arm(response);
        }
    }

    /// Within a body each byte, either way, sets the time-out anew; between the request and the response head none does.
    fn note_movement(&mut self) {
        let moved = self.upload.moved() + self.download.moved();
        if moved != self.moved && (!self.uploaded || self.is_begun()) {
            self.moved = moved;
            self.touch();
        }
    }

    fn touch(&self) {
        self.arm(self.patience.idle);
    }

    fn arm(&self, timeout: Duration) {
        arm(self.deadline, timeout);
    }

    fn expired(&self) -> Failed {
        if self.is_begun() && self.download.is_waiting_for_sink() {
            return Failed::ClientGone;
        }
        let peer = self.upstream.peer_addr();
        if !self.uploaded && !self.upload.is_waiting_for_sink() {
            return Failed::Reply(Reply::new(Failure::ClientTimeout, "the request's body stopped coming"));
        }
        let detail = if !self.uploaded {
            format!("{peer} stopped taking the request's body (mesher.timeout.streamIdleSeconds)")
        } else if self.is_begun() {
            format!("{peer} fell silent in the middle of its response (mesher.timeout.streamIdleSeconds)")
        } else {
            let limit = self.patience.response;
            format!(
                "no response head from {peer} within {limit:?} (cse.isolation.Consumer.timeoutInMilliseconds)"
            )
        };
        Failed::Reply(Reply::new(Failure::UpstreamTimeout, detail))
    }
}

/// The client's request broke off.
fn of_client(lost: Lost) -> Failed {
    match lost.failure {
        Failure::ClientProtocolError => Failed::Reply(Reply::new(lost.failure, lost.detail)),
        _ => Failed::ClientGone,
    }
}
