//! HTTP/2 on either side: heads, bodies, trailers, interim answers, cancellation, repetition, tunnels and shutdown.

mod connections;
mod edges;
mod peers;
mod ports;
mod streams;
mod translation;

use std::future::poll_fn;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Method, Request};
use mesher::net::Driver;

use self::peers::{Client, Service, heard, in_time, local, piece, reason, rest, whole};
use super::support::conf::Conf;
use super::support::mesh::{caller, caller_conf, on_both_drivers};
use super::support::net::free_port;
use super::support::origin::{Gate, Origin, Reply};
use super::support::process::{Mesher, Start, run};
use super::support::wait::{PATIENCE, wait_until};

/// The registry of a caller: services and their endpoints, scheme included.
fn registry(services: &[(&str, String)]) -> String {
    let mut text = String::from("services:\n");
    for (name, endpoint) in services {
        text += &format!("  {name}: [{{version: 0.0.1, endpoints: [\"{endpoint}\"]}}]\n");
    }
    text
}

/// A sidecar that calls these.
fn calling(driver: Driver, services: &[(&str, String)]) -> Mesher {
    Start::new(caller_conf(driver, &[]).file("registry.yaml", &registry(services))).ready()
}

fn grpc(address: SocketAddr) -> String {
    format!("grpc://{address}")
}

fn get(uri: &str) -> Request<()> {
    Request::get(uri).body(()).unwrap()
}

fn post(uri: &str) -> Request<()> {
    Request::post(uri).body(()).unwrap()
}

/// A call of gRPC.
fn call(uri: &str, fields: &[(&str, &str)]) -> Request<()> {
    let request = Request::post(uri).header("content-type", "application/grpc").header("te", "trailers");
    fields.iter().fold(request, |request, (name, value)| request.header(*name, *value)).body(()).unwrap()
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

/// Sends back what it is sent, piece by piece, and trailers.
fn echo() -> Service {
    Service::start(|mut stream| {
        Box::pin(async move {
            let mut back = stream.begin(&[("x-path", stream.head.uri.path().to_owned().as_str())], false);
            while let Some(Ok(data)) = stream.body.data().await {
                stream.body.flow_control().release_capacity(data.len()).unwrap();
                back.send_data(data, false).unwrap();
            }
            back.send_trailers(trailers(&[("grpc-status", "0"), ("x-sum", "1")])).unwrap();
        })
    })
}

// --- from HTTP/2 to HTTP/1
