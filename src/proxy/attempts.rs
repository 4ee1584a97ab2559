//! A routed request where at least one side speaks HTTP/2: attempts, one after the other, each a [`Relay`].
//!
//! An attempt may be repeated as between two sides of HTTP/1 (see `exchange`), and also whatever the method is if the
//! upstream has certainly not looked at the request: it said REFUSED_STREAM, or its GOAWAY named an earlier stream. What
//! had gone of the body must be there still. A connection that ends just when it is used, or set up, is no fault of the
//! endpoint, which gets the request once more, and as often as connections share its calls if it has not looked at it: all
//! of them may end at a time. After that the chain chooses another.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use http::Method;
use http::request::Parts;
use mesher_actors::snapshot::{Failure, Protocol};

use super::flow::{Code, Lost, Pump, Sink, Source};
use super::grpc;
use super::http2;
use super::message;
use super::relay::{self, Client, Failed, Passed, Patience, Relay, Upstream};
use super::route::{Crossing, retry};
use super::text::{Form, TextOrigin, TextWriter, write_request};
use crate::codec::{Framing, RequestKind, ResponseHead};
use crate::handler::{Call, Fault, Peer, Reply};
use crate::net::{self, Alarm, Deadline};
use crate::upstream::Connection;
use crate::upstream::http2::{ABREAST, Cause};

/// What became of a request.
#[derive(Debug)]
pub(super) enum End {
    /// The upstream's response was delivered; `whole`: after the upstream had taken the whole request.
    Delivered { passed: Passed, whole: bool },
    /// Mesher answers.
    Reply(Reply),
    /// The response goes no further, and why: mesher stops it, or has lost its upstream. `code` is for a client that cannot
    /// be told in words.
    Stopped { passed: Passed, reply: Reply, code: Code },
    /// The upstream has broken it off, with this code.
    Cut { passed: Passed, failure: Failure, code: Code },
    /// The client is gone.
    ClientGone { passed: Passed },
}

/// A request on its way to its endpoint.
pub(super) struct Attempts<'a> {
    pub(super) crossing: Crossing<'a>,
    /// What the chain has decided.
    pub(super) call: &'a mut Call,
    pub(super) deadline: &'a Deadline,
    pub(super) patience: Patience,
    /// A body follows the head.
    pub(super) has_body: bool,
}

/// An attempt that has come to nothing, of which nothing has reached the client.
enum Setback {
    /// The upstream's fault; `raced`: or the connection, which had been there before, ended just when it was used.
    Upstream { lost: Lost, raced: bool },
    /// The request is over.
    Over(End),
}

impl Attempts<'_> {
    /// Carries the request to its end. The head is ready for the next hop; what is left of it means nothing afterwards.
    pub(super) async fn run<B: Source, C: Client>(
        self,
        parts: &mut Parts,
        body: &mut B,
        client: &mut C,
    ) -> End {
        let (is_idempotent, kind) = (parts.method.is_idempotent(), kind(&parts.method));
        let mut upload = if self.has_body { Pump::default() } else { Pump::ending() };
        let ctx = self.crossing.ctx;
        let mut saved = ctx.spare.buffer();
        let is_text = self.protocol() == Protocol::Rest;
        let mut framing = Framing::None;
        if is_text {
            framing = write_request(&mut saved, parts, self.has_body);
        } else {
            http2::save(&mut saved, parts);
        }
        let mut is_spent = false;
        // How often the present endpoint has had the request again.
        let mut repeats = 0;
        let target = self.call.target.clone();
        let _alarm = self.set_alarm().await;
        let end = loop {
            if self.patience.is_late() {
                break End::Reply(relay::late());
            }
            let Some(peer) = target.as_ref().zip(self.call.endpoint()).and_then(|(t, at)| t.peers.get(at))
            else {
                break End::Reply(Reply::new(Failure::NoRoute, "the handler chain chose no endpoint"));
            };
            let flow = (&mut *body, &mut upload);
            let attempted = if is_text {
                let may_reuse = repeats == 0;
                self.over_text((peer, may_reuse), (&saved, framing, kind), flow, client).await
            } else {
                if std::mem::replace(&mut is_spent, true) {
                    let Some(again) = http2::restore(&saved) else {
                        let why = "the request cannot be repeated";
                        break End::Reply(Reply::new(Failure::UpstreamClosed, why));
                    };
                    *parts = again;
                }
                self.over_http2(peer, parts, flow, client).await
            };
            let (lost, raced) = match attempted {
                Ok(end) | Err(Setback::Over(end)) => break end,
                Err(Setback::Upstream { lost, raced }) => (lost, raced),
            };
            let may_repeat = lost.unprocessed || (is_idempotent && lost.failure == Failure::UpstreamClosed);
            let repeatable = may_repeat && upload.can_rewind();
            let repeats_max = if lost.unprocessed { ABREAST } else { 1 };
            let again = repeatable && raced && repeats < repeats_max;
            repeats = if again { repeats + 1 } else { 0 };
            if !again {
                let fault = Fault { failure: lost.failure, repeatable, detail: lost.detail };
                match unless_gone(client, body, self.has_body, retry(self.crossing, self.call, fault)).await {
                    Some(Ok(())) => {}
                    Some(Err(reply)) => break End::Reply(reply),
                    None => break End::ClientGone { passed: Passed::default() },
                }
            }
            upload.rewind();
        };
        ctx.spare.put_buffer(saved);
        end
    }

    /// What the endpoints of this call speak.
    fn protocol(&self) -> Protocol {
        let target = self.call.target.as_ref();
        let peer = self.call.endpoint().and_then(|index| target?.peers.get(index));
        peer.map_or(Protocol::Rest, |peer| peer.protocol)
    }

    async fn over_http2<B: Source, C: Client>(
        &self,
        peer: &Peer,
        parts: &mut Parts,
        flow: (&mut B, &mut Pump),
        client: &mut C,
    ) -> Result<End, Setback> {
        let endpoint = self.crossing.ctx.upstreams.http2(peer);
        let ready = match self.in_time(client, flow.0, endpoint.ready()).await? {
            Ok(ready) => ready,
            Err(error) => {
                let raced = error.cause == Cause::Refused;
                return Err(Setback::Upstream { lost: error.into(), raced });
            }
        };
        message::set_scheme(parts, peer.tls.is_some());
        if let Some(until) = self.patience.until {
            grpc::pass_on(&mut parts.headers, until.saturating_duration_since(net::now()));
        }
        let mut lease = None;
        let sides = http2::call(ready, parts, self.has_body, &mut lease)
            .map_err(|lost| Setback::Upstream { lost, raced: true })?;
        let mut relay = Relay::new(flow, client, sides, self.deadline, self.patience);
        let result = poll_fn(|cx| relay.poll(cx)).await;
        concluded(&relay, result, true)
    }

    async fn over_text<B: Source, C: Client>(
        &self,
        (peer, may_reuse): (&Peer, bool),
        (head, framing, kind): (&[u8], Framing, RequestKind),
        flow: (&mut B, &mut Pump),
        client: &mut C,
    ) -> Result<End, Setback> {
        let ctx = self.crossing.ctx;
        let connection = match self.in_time(client, flow.0, ctx.upstreams.connection(peer, may_reuse)).await?
        {
            Ok(connection) => connection,
            Err(error) => {
                return Err(Setback::Upstream {
                    lost: Lost::unconnected(peer.address, &error),
                    raced: false,
                });
            }
        };
        let mut response = ctx.spare.response();
        let (result, reusable) =
            self.exchange_text(&connection, (head, framing, kind), &mut response, flow, client).await;
        ctx.spare.put_response(response);
        if reusable {
            ctx.upstreams.put(peer.pool, connection);
        }
        result
    }

    /// One exchange on a connection of HTTP/1; true if that can carry another.
    async fn exchange_text<B: Source, C: Client>(
        &self,
        connection: &Connection,
        (head, framing, kind): (&[u8], Framing, RequestKind),
        response: &mut ResponseHead,
        flow: (&mut B, &mut Pump),
        client: &mut C,
    ) -> (Result<End, Setback>, bool) {
        let mut out = self.crossing.ctx.spare.buffer();
        out.extend_from_slice(head);
        let form = if framing == Framing::Chunked { Form::Chunked } else { Form::Plain };
        let writer = TextWriter::new(connection, out, form);
        let limits = &self.crossing.terms.settings().limits;
        let origin = TextOrigin::new(connection, limits, response, kind);
        let mut relay = Relay::new(flow, client, (writer, origin), self.deadline, self.patience);
        let result = poll_fn(|cx| relay.poll(cx)).await;
        connection.call_ended();
        let reusable = result.is_ok() && relay.is_uploaded() && relay.upstream().keeps_connection();
        let end = concluded(&relay, result, connection.reused);
        self.crossing.ctx.spare.put_buffer(relay.into_writer().into_buffer());
        (end, reusable)
    }

    /// Wakes the request's task at the deadline of its call, which may be shorter than a tick of `deadline`.
    async fn set_alarm(&self) -> Option<Alarm> {
        let until = self.patience.until?;
        Some(poll_fn(|cx| Poll::Ready(Alarm::set(until, cx))).await)
    }

    /// Waits for what must come before the request can be sent, which most often is there.
    async fn in_time<B: Source, C: Client, T>(
        &self,
        client: &mut C,
        body: &mut B,
        work: impl Future<Output = T>,
    ) -> Result<T, Setback> {
        let mut work = pin!(work);
        let mut waits = false;
        poll_fn(|cx| {
            if self.patience.is_late() {
                return Poll::Ready(Err(Setback::Over(End::Reply(relay::late()))));
            }
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            if !std::mem::replace(&mut waits, true) {
                self.arm();
            }
            body.gather(cx);
            if client.poll_gone(cx, self.has_body).is_ready() {
                let passed = Passed::default();
                return Poll::Ready(Err(Setback::Over(End::ClientGone { passed })));
            }
            self.deadline.poll_expired(cx).map(|()| {
                let why = "no connection to the upstream was free in time";
                Err(Setback::Over(End::Reply(Reply::new(Failure::UpstreamTimeout, why))))
            })
        })
        .await
    }

    fn arm(&self) {
        let Patience { response, idle, .. } = self.patience;
        relay::arm(self.deadline, if response.is_zero() { idle } else { response });
    }
}

/// What the end of a relay means for the request.
fn concluded<B: Source, C: Client, W: Sink, U: Upstream>(
    relay: &Relay<'_, B, C, W, U>,
    result: Result<(), Failed>,
    raced: bool,
) -> Result<End, Setback> {
    let passed = relay.passed();
    match result {
        Ok(()) => Ok(End::Delivered { passed, whole: relay.is_uploaded() }),
        Err(Failed::ClientGone) => Ok(End::ClientGone { passed }),
        Err(Failed::Reply(reply)) if !relay.is_begun() => Ok(End::Reply(reply)),
        Err(Failed::Reply(reply)) => Ok(End::Stopped { passed, reply, code: Code::CANCEL }),
        Err(Failed::Upstream(Lost { reset, failure, detail, .. })) if relay.is_begun() => {
            let failure = if failure == Failure::UpstreamClosed { Failure::UpstreamReset } else { failure };
            Ok(match reset {
                Some(code) => End::Cut { passed, failure, code },
                None => End::Stopped { passed, reply: Reply::new(failure, detail), code: Code::of(failure) },
            })
        }
        Err(Failed::Upstream(lost)) => {
            // Who resets a stream has seen the request, and its connection goes on.
            let raced = raced && lost.failure == Failure::UpstreamClosed && lost.reset.is_none();
            Err(Setback::Upstream { lost, raced })
        }
    }
}

/// Does some work for a client whose body has to wait; nothing if that is gone before it is done.
pub(super) async fn unless_gone<B: Source, C: Client, T>(
    client: &mut C,
    body: &mut B,
    sending: bool,
    work: impl Future<Output = T>,
) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => {
            body.gather(cx);
            client.poll_gone(cx, sending).map(|()| None)
        }
    })
    .await
}

/// What the meaning of the response depends on.
fn kind(method: &Method) -> RequestKind {
    if *method == Method::HEAD { RequestKind::Head } else { RequestKind::Plain }
}

/// The bounds of a call to the endpoints that were found for it.
pub(super) fn patience(crossing: Crossing<'_>, call: &Call, until: Option<Instant>) -> Patience {
    Patience {
        response: call.target.as_ref().map_or(Duration::ZERO, |t| t.service.policy.response_timeout),
        idle: crossing.terms.settings().stream_idle_timeout,
        until,
    }
}
