//! One attempt: the request on its way up and the response on its way down, both at once, since an upstream may answer
//! before it has read the whole request; and the time-outs of both.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use mesher_actors::snapshot::Failure;

use super::connection::Downstream;
use super::download::{Download, DownloadError};
use super::upload::{Upload, UploadError};
use crate::handler::{Fault, Reply};
use crate::net;
use crate::upstream::Connection;

/// A client whose connection has never had to wait is not watched for having gone before this has passed: most answers
/// are there by then, and the connection never meets epoll. (A tick of the deadlines is longer, so it is the first.)
const WATCH_AFTER: Duration = Duration::from_millis(1);

/// Why a transfer ended early.
pub(super) enum Broken {
    /// The upstream's fault; the request may be tried elsewhere if that says so.
    Upstream(Fault),
    /// The client is gone.
    ClientGone,
    /// The client, or time; this is to be answered if nothing was yet.
    Reply(Reply),
}

/// An attempt under way.
pub(super) struct Transfer<'a> {
    down: &'a Downstream,
    up: &'a Connection,
    upload: &'a mut Upload,
    /// Where bytes of the client go that belong to the next request.
    surplus: &'a mut Vec<u8>,
    download: Download<'a>,
    response_timeout: Duration,
    idempotent: bool,
    uploaded: bool,
    /// The upstream stopped taking the request; it may have answered all the same.
    refused: Option<io::Error>,
    /// Bytes moved either way when the time-out was last set.
    moved: u64,
    /// It is noticed when the client goes.
    watching: bool,
    /// When the transfer has taken too long; never if there is no such time.
    expires: Cell<Option<Instant>>,
}

impl<'a> Transfer<'a> {
    /// Nothing has moved yet. The response head is awaited for `response_timeout` (zero: for ever) once the request
    /// is sent; `idempotent` requests may be repeated although they may have run.
    pub(super) fn new(
        down: &'a Downstream,
        up: &'a Connection,
        (upload, surplus): (&'a mut Upload, &'a mut Vec<u8>),
        download: Download<'a>,
        response_timeout: Duration,
        idempotent: bool,
    ) -> Self {
        let transfer = Self {
            down,
            up,
            upload,
            surplus,
            download,
            response_timeout,
            idempotent,
            uploaded: false,
            refused: None,
            moved: 0,
            watching: down.stream.is_watched(),
            expires: Cell::new(None),
        };
        transfer.touch();
        transfer
    }

    /// The whole request was taken by the upstream.
    pub(super) fn is_uploaded(&self) -> bool {
        self.uploaded && self.refused.is_none()
    }

    /// The response so far.
    pub(super) fn download(&self) -> &Download<'a> {
        &self.download
    }

    /// Moves on, both ways. Ready when the response is delivered.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if !self.uploaded {
            match self.upload.poll(cx, &self.down.stream, self.surplus, self.up) {
                Poll::Ready(Ok(())) => self.request_sent(),
                Poll::Ready(Err(UploadError::Upstream(error))) => {
                    self.uploaded = true;
                    self.refused = Some(error);
                }
                Poll::Ready(Err(UploadError::ClientGone)) => return Poll::Ready(Err(Broken::ClientGone)),
                Poll::Ready(Err(UploadError::Malformed(reject))) => {
                    let reply = Reply::with_status(Failure::ClientProtocolError, reject.status, reject.why);
                    return Poll::Ready(Err(Broken::Reply(reply)));
                }
                Poll::Pending => {}
            }
        }
        self.download.note_sending(!self.is_uploaded());
        let begun = self.download.is_begun();
        match self.download.poll(cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
            Poll::Ready(Err(DownloadError::ClientGone)) => return Poll::Ready(Err(Broken::ClientGone)),
            Poll::Ready(Err(DownloadError::Upstream(fault))) => {
                let repeatable = match fault.failure {
                    Failure::ConnectFailed => self.upload.can_rewind(),
                    Failure::UpstreamClosed => {
                        self.upload.can_rewind() && (self.idempotent || !self.upload.is_written())
                    }
                    _ => false,
                };
                return Poll::Ready(Err(Broken::Upstream(Fault { repeatable, ..fault })));
            }
            Poll::Pending => {}
        }
        if self.download.is_begun() && !begun {
            self.up.call_ended();
        }
        self.note_movement();
        // The end of the client's side is all that is seen of one that has closed, so it counts as that; nginx and Envoy do
        // the same. Who waits for an answer keeps the connection open.
        if self.uploaded && self.watching && self.down.stream.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Broken::ClientGone));
        }
        ready!(self.down.deadline.poll_expired(cx));
        if self.watching || self.expires.get().is_some_and(|at| at <= net::now()) {
            return Poll::Ready(Err(self.expired()));
        }
        self.watching = true;
        self.set_deadline();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// From here on the upstream's time runs.
    fn request_sent(&mut self) {
        self.uploaded = true;
        self.up.expect_nothing_yet();
        self.up.call_started();
        self.arm(self.response_timeout);
    }

    /// Within a body each byte, either way, sets the time-out anew; between the request and the response head none
    /// does.
    fn note_movement(&mut self) {
        let moved = self.upload.moved() + self.download.moved();
        if moved != self.moved && (!self.uploaded || self.download.is_begun()) {
            self.moved = moved;
            self.touch();
        }
    }

    fn touch(&self) {
        self.arm(self.down.terms().settings().stream_idle_timeout);
    }

    /// The transfer has this long from now on; for ever if that is zero.
    fn arm(&self, timeout: Duration) {
        self.expires.set((!timeout.is_zero()).then(|| net::now() + timeout));
        self.set_deadline();
    }

    fn set_deadline(&self) {
        let watch = (!self.watching).then(|| net::now() + WATCH_AFTER);
        match (self.expires.get(), watch) {
            (Some(expires), Some(watch)) => self.down.deadline.arm(expires.min(watch)),
            (Some(at), None) | (None, Some(at)) => self.down.deadline.arm(at),
            (None, None) => self.down.deadline.disarm(),
        }
    }

    fn expired(&self) -> Broken {
        if self.download.is_waiting_for_client() {
            return Broken::ClientGone;
        }
        if !self.uploaded {
            return Broken::Reply(Reply::new(Failure::ClientTimeout, "the request's body stopped coming"));
        }
        let peer = self.up.peer_addr();
        let detail = if self.download.is_begun() {
            format!("{peer} fell silent in the middle of its response (mesher.timeout.streamIdleSeconds)")
        } else {
            let limit = self.response_timeout;
            format!(
                "no response head from {peer} within {limit:?} (cse.isolation.Consumer.timeoutInMilliseconds)"
            )
        };
        Broken::Reply(Reply::new(Failure::UpstreamTimeout, detail))
    }
}
