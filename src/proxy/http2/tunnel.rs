//! CONNECT on a stream: bytes both ways between the stream and one instance of the service, as they are.
//!
//! The first bytes decide which of its addresses takes them, as they do for a tunnel that is a connection (see `tunnel`):
//! TLS goes to one that declares it, HTTP/2 to one that speaks it, anything else to one of HTTP/1.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use mesher_actors::snapshot::stats::Direction;
use mesher_actors::snapshot::{Failure, Protocol, TlsClient};
use tracing::warn;

use super::body::{Downstream, Inflow};
use super::responder::Responder;
use super::session::Session;
use crate::codec::FirstBytes;
use crate::handler::{Call, Reply, Target};
use crate::net::{self, Deadline, with_scratch};
use crate::proxy::attempts::{End, unless_gone};
use crate::proxy::flow::{Broken, Code, Lost, Piece, Pump, Source};
use crate::proxy::relay::{Client, Passed};
use crate::proxy::route::Crossing;
use crate::proxy::text::{Form, TextWriter};
use crate::upstream::Connection;

const OPENED: Passed = Passed { status: 200, grpc_status: None };

/// Whether a tunnel may be opened. `refused` is what the chain says against a request to the service: no plain instance is
/// no reason if there is one that takes TLS.
///
/// # Errors
/// The reply to give instead.
pub(super) fn opening(session: &Session, call: &Call, refused: Option<Reply>) -> Result<Rc<Target>, Reply> {
    if session.ingress.direction == Direction::Incoming {
        let why = "CONNECT is for what the local service sends, not for what it is sent";
        return Err(Reply::with_status(Failure::NoRoute, 405, why));
    }
    if session.tunnel.is_some() {
        return Err(Reply::new(Failure::ClientProtocolError, "CONNECT inside a tunnel is not served"));
    }
    let takes_tls = call.target.as_ref().is_some_and(|target| !target.service.tls_endpoints.is_empty());
    match (&call.target, refused) {
        (Some(target), None) => Ok(target.clone()),
        (Some(target), Some(_)) if takes_tls => Ok(target.clone()),
        (_, Some(reply)) => Err(reply),
        (None, None) => Err(Reply::new(Failure::NoRoute, "the handler chain chose no service")),
    }
}

/// Opens the tunnel and carries bytes until both sides have ended, one of them breaks, or nothing moves for too long.
pub(super) async fn carry(
    crossing: Crossing<'_>,
    target: &Target,
    body: Inflow<Downstream<'_>>,
    client: &mut Responder,
    deadline: &Deadline,
) -> End {
    if client.begin(Response::new(()), false).is_err() {
        return End::ClientGone { passed: OPENED };
    }
    let mut from = Opened { first: Bytes::new(), body };
    arm(crossing, deadline);
    let first = poll_fn(|cx| match from.body.poll_piece(cx) {
        Poll::Ready(piece) => Poll::Ready(Some(piece)),
        Poll::Pending => deadline.poll_expired(cx).map(|()| None),
    });
    match first.await {
        Some(Ok(Piece::Data(data))) => from.first = data,
        Some(Ok(_)) => {}
        Some(Err(_)) | None => return End::ClientGone { passed: OPENED },
    }
    let Opened { first, body } = &mut from;
    match unless_gone(client, body, true, connect(crossing, target, first)).await {
        Some(Some(up)) => splice(crossing, from, &up, client, deadline).await,
        Some(None) => End::Cut { passed: OPENED, failure: Failure::ConnectFailed, code: Code::CONNECT_ERROR },
        None => End::ClientGone { passed: OPENED },
    }
}

fn arm(crossing: Crossing<'_>, deadline: &Deadline) {
    let timeout = crossing.terms.settings().tunnel_idle_timeout;
    if timeout.is_zero() {
        deadline.disarm();
    } else {
        deadline.arm(net::now() + timeout);
    }
}

/// A connection to an instance that understands what begins like this.
async fn connect(crossing: Crossing<'_>, target: &Target, first: &[u8]) -> Option<Connection> {
    let mut places = places(target, FirstBytes::of(first));
    if !places.is_empty() {
        let start = usize::try_from(crossing.ctx.random.next() >> 33).unwrap_or(0) % places.len();
        places.rotate_left(start);
    }
    for (address, tls) in places {
        match crossing.ctx.upstreams.connect(address, tls).await {
            Ok(up) => return Some(up),
            Err(error) => {
                warn!(service = &*target.service.name, %address, %error, "cannot connect for a tunnel");
            }
        }
    }
    warn!(service = &*target.service.name, "no instance takes what a client sends through a tunnel");
    None
}

/// Where what begins like this may go.
fn places(target: &Target, first: FirstBytes) -> Vec<(SocketAddr, Option<&TlsClient>)> {
    let protocol = match first {
        FirstBytes::Tls => {
            return target.service.tls_endpoints.iter().map(|endpoint| (endpoint.address, None)).collect();
        }
        FirstBytes::Http2 | FirstBytes::Undecided => Protocol::Grpc,
        FirstBytes::Http1 => Protocol::Rest,
    };
    let fitting = target.callable(protocol);
    let fitting = if fitting.is_empty() { target.callable(Protocol::Rest) } else { fitting };
    let peers = target.peers.get(fitting).unwrap_or_default();
    peers.iter().map(|peer| (peer.address, peer.tls.as_deref())).collect()
}

async fn splice(
    crossing: Crossing<'_>,
    mut from: Opened<'_>,
    up: &Connection,
    client: &mut Responder,
    deadline: &Deadline,
) -> End {
    let mut writer = TextWriter::new(up, crossing.ctx.spare.buffer(), Form::Plain);
    let mut reader = Raw { up, is_ended: false };
    let (mut there, mut back) = (Pump::default(), Pump::default());
    let (mut there_ended, mut moved) = (false, 0);
    let mut pumping = pin!(poll_fn(|cx| {
        if !there_ended {
            match there.poll(cx, &mut from, &mut writer) {
                Poll::Ready(Ok(())) => {
                    there_ended = true;
                    up.shutdown_write();
                }
                Poll::Ready(Err(Broken::Source(_))) => return Poll::Ready(Ended::ClientGone),
                // RFC 9110 section 9.3.6: what it has said before its end is delivered.
                Poll::Ready(Err(Broken::Sink)) if writer.is_left() => there_ended = true,
                Poll::Ready(Err(Broken::Sink)) => return Poll::Ready(Ended::UpstreamGone),
                Poll::Pending => {}
            }
        } else {
            from.gather(cx);
        }
        let back_ended = match back.poll(cx, &mut reader, client) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(Broken::Source(_))) => return Poll::Ready(Ended::UpstreamGone),
            Poll::Ready(Err(Broken::Sink)) => return Poll::Ready(Ended::ClientGone),
            Poll::Pending => false,
        };
        if there_ended && back_ended {
            return Poll::Ready(Ended::InOrder);
        }
        let now_moved = there.moved() + back.moved();
        if now_moved != moved {
            moved = now_moved;
            arm(crossing, deadline);
        }
        if client.poll_gone(cx, false).is_ready() {
            return Poll::Ready(Ended::ClientGone);
        }
        deadline.poll_expired(cx).map(|()| Ended::UpstreamGone)
    }));
    match pumping.as_mut().await {
        Ended::InOrder => End::Delivered { passed: OPENED, whole: true },
        Ended::ClientGone => {
            // RFC 9113 section 8.5: what was sent so far is not to be taken for the whole.
            up.reset_on_close();
            End::ClientGone { passed: OPENED }
        }
        Ended::UpstreamGone => {
            End::Cut { passed: OPENED, failure: Failure::UpstreamReset, code: Code::CONNECT_ERROR }
        }
    }
}

/// How a tunnel has ended.
enum Ended {
    InOrder,
    ClientGone,
    /// Or nothing has moved for too long.
    UpstreamGone,
}

/// What comes through the tunnel from the client.
struct Opened<'s> {
    /// Was read to look at.
    first: Bytes,
    body: Inflow<Downstream<'s>>,
}

impl Source for Opened<'_> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Lost>> {
        if !self.first.is_empty() {
            return Poll::Ready(Ok(Piece::Data(std::mem::take(&mut self.first))));
        }
        // Fields behind the bytes mean nothing in a tunnel.
        self.body.poll_piece(cx).map_ok(|piece| match piece {
            Piece::Trailers(_) => Piece::End,
            piece => piece,
        })
    }

    fn is_ended(&self) -> bool {
        self.first.is_empty() && self.body.is_ended()
    }

    fn passed(&mut self, bytes: usize) {
        self.body.passed(bytes);
    }

    fn gather(&mut self, cx: &mut Context<'_>) {
        self.body.gather(cx);
    }
}

/// The bytes of a connection.
struct Raw<'a> {
    up: &'a Connection,
    is_ended: bool,
}

impl Source for Raw<'_> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Lost>> {
        if self.is_ended {
            return Poll::Ready(Ok(Piece::End));
        }
        let up = self.up;
        with_scratch(|scratch| {
            up.poll_read(cx, scratch).map(|read| match read {
                Ok(0) => {
                    self.is_ended = true;
                    Ok(Piece::End)
                }
                Ok(n) => Ok(Piece::Data(Bytes::copy_from_slice(scratch.get(..n).unwrap_or_default()))),
                Err(error) => Err(Lost::upstream(Failure::UpstreamReset, error.to_string())),
            })
        })
    }

    fn is_ended(&self) -> bool {
        self.is_ended
    }

    fn passed(&mut self, _: usize) {
        // Nothing is read before the last piece has gone: TCP tells the peer.
    }
}
