//! A client that asked on a stream: takes the response there.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, Response, header};

use super::body::Outflow;
use super::session::Session;
use crate::codec::grpc::{self, Messages};
use crate::handler::Reply;
use crate::proxy::flow::{Closed, Code, Sink};
use crate::proxy::relay::Client;
use crate::proxy::reply;

/// The response side of a stream.
pub(super) struct Responder {
    respond: SendResponse<Bytes>,
    body: Option<Outflow>,
    session: Rc<Session>,
    /// It was asked by gRPC, whose metadata is not ours. Other responses get a date if they have none (RFC 9110 section 6.6.1).
    is_grpc: bool,
    /// What was sent of a response of gRPC that may end after any message.
    messages: Option<Messages>,
}

impl Responder {
    /// Nothing is answered yet.
    pub(super) fn new(respond: SendResponse<Bytes>, session: Rc<Session>) -> Self {
        Self { respond, body: None, session, is_grpc: false, messages: None }
    }

    /// Whether it was asked by gRPC.
    pub(super) fn set_grpc(&mut self, is_grpc: bool) {
        self.is_grpc = is_grpc;
    }

    /// A response has begun.
    pub(super) fn is_begun(&self) -> bool {
        self.body.is_some()
    }

    /// Ends a call of gRPC in the middle of its response, with the status that belongs to the reply ("Responses",
    /// `Trailers`): libraries report that, where they make INTERNAL of a reset.
    ///
    /// # Errors
    /// The response is not one of gRPC, has announced its length, or ends within a message: grpcio waits for the rest of
    /// that whatever the status says. It can only be [cut](Self::cut).
    pub(super) fn end_call(&mut self, reply: &Reply) -> Result<(), Closed> {
        match &self.messages {
            Some(messages) if messages.is_between() => self.put_trailers(reply::trailers(reply)),
            _ => Err(Closed),
        }
    }

    /// The client must not take what it has for the whole response, as some do where a reset names no error (RFC 9113 section 8.1).
    pub(super) fn cut(&mut self, code: Code) {
        let code = if code == Code::NO_ERROR { Code::INTERNAL_ERROR } else { code };
        self.respond.send_reset(code.0.into());
    }
}

/// Whether a response is one of gRPC that may end after any message.
fn may_end(fields: &HeaderMap) -> bool {
    let is_grpc = fields.get(header::CONTENT_TYPE).is_some_and(|value| grpc::is_grpc(value.as_bytes()));
    is_grpc && !fields.contains_key(header::CONTENT_LENGTH)
}

impl Client for Responder {
    fn interim(&mut self, head: Response<()>) -> Result<(), Closed> {
        self.respond.send_informational(head).map_err(|_| Closed)
    }

    fn begin(&mut self, mut head: Response<()>, end: bool) -> Result<(), Closed> {
        let fields = head.headers_mut();
        if !self.is_grpc {
            fields.entry(header::DATE).or_insert_with(|| self.session.ctx.dates.value());
        } else if may_end(fields) {
            self.messages = Some(Messages::default());
        }
        let stream = self.respond.send_response(head, end).map_err(|_| Closed)?;
        self.body = Some(Outflow::new(stream));
        Ok(())
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>, _: bool) -> Poll<()> {
        match &mut self.body {
            Some(body) => body.stream.poll_reset(cx).map(|_| ()),
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }
}

impl Sink for Responder {
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, Closed>> {
        match &mut self.body {
            Some(body) => body.poll_room(cx, wanted),
            None => Poll::Pending,
        }
    }

    fn put(&mut self, data: Bytes, end: bool) -> Result<(), Closed> {
        self.session.watch.note_sent(data.len());
        if let Some(messages) = &mut self.messages {
            messages.follow(&data);
        }
        self.body.as_mut().map_or(Ok(()), |body| body.put(data, end))
    }

    fn put_trailers(&mut self, trailers: HeaderMap) -> Result<(), Closed> {
        self.body.as_mut().map_or(Ok(()), |body| body.put_trailers(trailers))
    }

    fn poll_flushed(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Poll::Ready(Ok(()))
    }
}
