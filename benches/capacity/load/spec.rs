//! One way of putting load on a proxy.

use std::time::Duration;

use serde::Serialize;

use super::http2;
use crate::args::Args;

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Pattern {
    /// Each connection asks again as soon as it is answered.
    Closed,
    /// As closed, over a new connection each time.
    Fresh,
    /// At fixed times, `rate` a second, whatever the answers do.
    Open {
        /// Requests a second over all connections.
        rate: f64,
    },
}

/// What is spoken with a proxy, and what it speaks with the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Wire {
    /// HTTP/1.1 on both sides.
    Http1,
    /// HTTP/1.1 in TLS with the proxy, in the clear with the origin.
    Tls,
    /// HTTP/2 by prior knowledge on both sides.
    Http2,
    /// HTTP/2 by prior knowledge with the proxy, HTTP/1.1 with the origin.
    Http2ToHttp1,
}

impl Wire {
    /// Scheme of what clients ask for.
    pub(crate) fn scheme(self) -> &'static str {
        if self == Self::Tls { "https" } else { "http" }
    }

    /// Bytes of the smallest answer that there is.
    pub(crate) fn bytes_min(self) -> u64 {
        match self {
            Self::Http1 | Self::Tls => 0,
            Self::Http2 | Self::Http2ToHttp1 => http2::ANSWER_BYTES,
        }
    }
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Request {
    /// GET, answered with a body.
    Get,
    /// A unary call of gRPC: a message each way, and trailers.
    Unary,
}

/// One way of putting load on a proxy.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Load {
    /// Names it in options, tables and files.
    pub(crate) name: String,
    /// When requests are sent.
    pub(crate) pattern: Pattern,
    /// What is spoken.
    pub(crate) wire: Wire,
    /// What is asked.
    pub(crate) request: Request,
    /// Connections in use.
    pub(crate) connections: usize,
    /// Requests at once on each of them.
    pub(crate) streams: usize,
    /// Bytes of each answer's body or message.
    pub(crate) bytes: u64,
    /// Connections held open beside them.
    pub(crate) idle: usize,
    /// One step of the sweep over rates, which the curves and the sizing table are made of.
    pub(crate) sweep: bool,
}

impl Load {
    /// GET over HTTP/1 in the clear, one at a time on each connection, with nothing beside it.
    pub(crate) fn http1(name: String, pattern: Pattern, connections: usize, bytes: u64) -> Self {
        let (wire, request) = (Wire::Http1, Request::Get);
        Self { name, pattern, wire, request, connections, streams: 1, bytes, idle: 0, sweep: false }
    }

    /// What it does, for people.
    pub(crate) fn title(&self) -> String {
        let what = format!("{}{}", self.spoken(), self.beside());
        match self.pattern {
            Pattern::Closed => format!("{}, closed loop, {what}", self.parallel()),
            Pattern::Fresh => {
                format!("a new connection per request, {} at a time, {what}", self.connections)
            }
            Pattern::Open { rate } => format!("{rate} requests/s on {}, {what}", self.parallel()),
        }
    }

    fn parallel(&self) -> String {
        let connections = match self.connections {
            1 => "one connection".to_owned(),
            count => format!("{count} connections"),
        };
        match (self.wire, self.streams) {
            (Wire::Http1 | Wire::Tls, _) => connections,
            (_, 1) => format!("{connections} of one stream"),
            (_, streams) => format!("{connections} of {streams} streams"),
        }
    }

    fn spoken(&self) -> String {
        let bytes = self.bytes;
        match (self.wire, self.request) {
            (Wire::Http1, _) => format!("{bytes} B"),
            (Wire::Tls, _) => {
                format!("{bytes} B, TLS 1.3 without resumption, HTTP/1 in the clear to the origin")
            }
            (Wire::Http2, Request::Get) => format!("{bytes} B, HTTP/2 to the proxy and to the origin"),
            (Wire::Http2, Request::Unary) => format!("unary calls of gRPC, messages of {bytes} B"),
            (Wire::Http2ToHttp1, _) => format!("{bytes} B, HTTP/2 to the proxy, HTTP/1 to the origin"),
        }
    }

    fn beside(&self) -> String {
        if self.idle > 0 { format!(", beside {} idle connections", self.idle) } else { String::new() }
    }

    /// How long it runs: the steps of the sweep are many, so each is short.
    pub(crate) fn length(&self, args: &Args) -> Duration {
        let seconds = if self.sweep { args.seconds().min(1.0) } else { args.seconds() };
        Duration::from_secs_f64(seconds)
    }
}
