//! TLS as a whole: keys and files in, handshakes out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod handshakes;
mod keys;
mod mistakes;
mod renewal;
mod tags;

use std::fs;
use std::sync::Arc;

use rustls::{CertificateError, Error, ServerConfig};

use super::bench::{Authority, Home, Shaken, shake};
use super::{Tls, load_certificates, load_key};
use crate::config::Report;
use crate::snapshot::tls::TlsClient;
use crate::snapshot::{Protocol, TlsReason};

const LISTENER: &str = "ssl.me.rest.Provider: {certFile: me.crt, keyFile: me.key}\n";
const VERIFIED: &str = "ssl.rest.Consumer: {verifyPeer: 'true', caFile: ca.crt}\n";

fn test_key(name: &str) -> Vec<u8> {
    fs::read(format!("{}/tests/data/keys/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn test_text(name: &str) -> String {
    String::from_utf8(test_key(name)).unwrap()
}

fn external(tls: &Tls) -> Arc<ServerConfig> {
    tls.table().external.unwrap().config.clone()
}

fn rest(tls: &Tls, service: &str) -> Arc<TlsClient> {
    tls.table().client(service, Protocol::Rest).unwrap()
}

/// Our own listener, which bears these names, called as `service` by one that verifies it.
fn called_as(names: &[&str], service: &str) -> Result<Shaken, Error> {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(names)).write("ca.crt", &authority.pem);
    let tls = home.good(&format!("{LISTENER}{VERIFIED}"));
    shake(&external(&tls), &rest(&tls, service))
}

fn problems(report: &Report) -> Vec<String> {
    report.problems().iter().map(ToString::to_string).collect()
}

#[track_caller]
fn has(report: &Report, label: &str, part: &str) {
    let all = problems(report);
    assert!(all.iter().any(|p| p.starts_with(label) && p.contains(part)), "{label} {part} in {all:#?}");
}

/// When the certificate of our own listener ends.
fn ends(tls: &Tls) -> i64 {
    tls.expiries().iter().find(|expiry| expiry.file.ends_with("me.crt")).unwrap().not_after_s
}
