//! Sidecars as the suites want them: before a service that answers everything, in HTTP/1.1 or in HTTP/2.

use std::net::SocketAddr;

use super::super::support::conf::Conf;
use super::super::support::origin::{Origin, Reply};
use super::super::support::process::{Mesher, Start};
use super::super::support::tls::Authority;
use super::service::Service;

/// Some cases count the bytes of the answer.
const ANSWER: &str = "an answer of more than a few bytes\n";

/// A sidecar under test.
pub(crate) struct Suited {
    mesher: Mesher,
    /// Lives as long as the sidecar.
    _service: Box<dyn std::any::Any>,
}

impl Suited {
    /// One before each kind of service.
    pub(crate) fn each() -> Vec<Self> {
        vec![Self::before_http1(), Self::before_http2()]
    }

    /// One that presents a certificate, before HTTP/1.1.
    pub(crate) fn inside_tls() -> Self {
        let certificate = Authority::new().issue("suited");
        Self::with(Conf::sidecar("suited").presents("suited.rest.Provider", &certificate))
    }

    fn before_http1() -> Self {
        Self::with(Conf::sidecar("suited"))
    }

    fn with(conf: Conf) -> Self {
        let origin = Origin::start(|seen| match seen.request.method.as_str() {
            "HEAD" => Reply::default().send("HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n"),
            _ => Reply::ok(ANSWER),
        });
        let mesher =
            Start::new(conf).arg(format!("--service-ports=rest:{}", origin.address().port())).ready();
        Self { mesher, _service: Box::new(origin) }
    }

    fn before_http2() -> Self {
        let service = Service::answering(ANSWER);
        let start = Start::new(Conf::sidecar("suited"));
        let mesher = start.arg(format!("--service-ports=grpc:{}", service.address().port())).ready();
        Self { mesher, _service: Box::new(service) }
    }

    /// Where it speaks HTTP/2.
    pub(crate) fn address(&self) -> SocketAddr {
        self.mesher.conf().incoming
    }
}
