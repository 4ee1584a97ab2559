//! TLS on the way in and on the way out: who is believed, and what is refused.

mod attacks; // what they come to

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use mesher::net::Driver;
use rustix::process::Signal;

use super::support::client::{Client, Response};
use super::support::conf::Conf;
use super::support::load::Load;
use super::support::mesh::{caller_conf, on_both_drivers};
use super::support::origin::{Origin, Reply};
use super::support::process::{Mesher, Start};
use super::support::tls::{Authority, Certificate, Secured, trusting};
use super::support::wait::{PATIENCE, wait_until};

const LISTENER: &str = "provider.rest.Provider";
const CLIENT: &str = "provider.rest.Consumer";
const HANDSHAKES: &str = "mesher_tls_handshakes_total";

fn start(conf: Conf, service: SocketAddr) -> Mesher {
    Start::new(conf).arg(format!("--service-ports=rest:{}", service.port())).ready()
}

/// A sidecar before `origin` that presents a certificate.
fn presenting(driver: Driver, origin: &Origin, certificate: &Certificate) -> Mesher {
    start(Conf::provider(driver, origin.address()).presents(LISTENER, certificate), origin.address())
}

/// A sidecar that calls `provider` at this address.
fn calling(driver: Driver, provider: SocketAddr, change: impl FnOnce(Conf) -> Conf) -> Mesher {
    Start::new(change(caller_conf(driver, &[("provider", &[provider])]))).ready()
}

fn handshakes(mesher: &Mesher, side: &str, result: &str) -> u64 {
    mesher.metric_of(HANDSHAKES, &format!("side=\"{side}\",result=\"{result}\""))
}

#[track_caller]
fn is_refused(response: &Response, flag: &str, says: &str) {
    let error = response.header("x-mesher-error").unwrap_or_default();
    assert!(error.starts_with(flag) && error.contains(says), "{response:?}");
}

#[test]
fn requests_come_in_over_tls_and_the_service_is_told_so() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::echoing());
        let mesher = presenting(driver, &origin, &authority.issue("provider"));
        let config = Arc::new(trusting(&authority.pem, None));
        let mut client = Secured::connect(mesher.conf().incoming, "provider", &config).unwrap();
        let body = vec![b'x'; 3 << 20];
        let mut request =
            format!("PUT /p HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
        request.extend_from_slice(&body);
        let (_, echo) = client.ask(&request).unwrap();
        assert!(echo.ends_with(&body), "every byte came back");
        let head = String::from_utf8_lossy(&echo[..echo.len() - body.len()]).into_owned();
        assert!(head.contains("\r\nX-Forwarded-Proto: https\r\n"), "{head}");
        // The same connection, then another one that knows the server from before.
        assert_eq!(client.get("a").unwrap(), 200);
        let mut again = Secured::connect(mesher.conf().incoming, "provider", &config).unwrap();
        assert_eq!(again.get("a").unwrap(), 200);
        assert_eq!(
            (handshakes(&mesher, "downstream", "full"), handshakes(&mesher, "downstream", "resumed")),
            (1, 1)
        );
    });
}

#[test]
fn a_client_agrees_on_a_protocol_or_is_told_that_there_is_none() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::answering("ok"));
        let mesher = presenting(driver, &origin, &authority.issue("provider"));
        let connect = |alpn: &[&[u8]]| {
            let mut config = trusting(&authority.pem, None);
            config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
            Secured::connect(mesher.conf().incoming, "provider", &Arc::new(config))
        };
        let agreed = |alpn: &[&[u8]]| connect(alpn).unwrap().stream.conn.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(agreed(&[b"http/1.1"]).as_deref(), Some(&b"http/1.1"[..]));
        assert_eq!(agreed(&[b"http/1.1", b"h2"]).as_deref(), Some(&b"h2"[..]), "the server's choice");
        assert_eq!(agreed(&[]), None);
        let error = connect(&[b"spdy/3"]).err().unwrap().to_string();
        assert!(error.contains("NoApplicationProtocol"), "{error}");
    });
}

#[test]
fn who_has_agreed_on_http2_is_served_nothing_else() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::answering("ok"));
        let mesher = presenting(driver, &origin, &authority.issue("provider"));
        let mut config = trusting(&authority.pem, None);
        config.alpn_protocols = vec![b"h2".to_vec()];
        for request in ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "?\r\n\r\n"]
        {
            let mut client =
                Secured::connect(mesher.conf().incoming, "provider", &Arc::new(config.clone())).unwrap();
            client.stream.write_all(request.as_bytes()).unwrap();
            let mut answer = Vec::new();
            // How it ends is not said: closed, or reset for what was not read.
            let _ = client.stream.read_to_end(&mut answer);
            let answer = String::from_utf8_lossy(&answer);
            assert!(!answer.contains("HTTP/1"), "{request:?}: {answer}");
        }
        assert_eq!(origin.requests(), 0);
    });
}

#[test]
fn two_sidecars_prove_to_each_other_who_they_are() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::answering("ok"));
        let conf = Conf::provider(driver, origin.address())
            .presents(LISTENER, &authority.issue("provider"))
            .verifies(LISTENER, &authority.pem);
        let provider = start(conf, origin.address());
        let caller = calling(driver, provider.conf().incoming, |conf| {
            conf.presents(CLIENT, &authority.issue("caller")).verifies(CLIENT, &authority.pem)
        });
        let mut client = caller.connect();
        for _ in 0..5 {
            assert_eq!(client.get("provider", "/").text(), "ok");
        }
        assert_eq!(handshakes(&caller, "upstream", "full"), 1, "the connection is kept");
        // https as the caller's wish is fulfilled.
        assert_eq!(client.ask("GET https://provider/ HTTP/1.1\r\nHost: provider\r\n\r\n").status, 200);
    });
}

#[test]
fn who_cannot_prove_it_is_not_talked_to_and_never_in_the_clear() {
    let past = |params: &mut rcgen::CertificateParams| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    };
    on_both_drivers(|driver| {
        let (authority, other, origin) = (Authority::new(), Authority::new(), Origin::answering("ok"));
        let cases = [
            (other.issue("provider"), "not from an issuer in caFile"),
            (authority.issue("stock"), "does not name the service \"provider\""),
            (authority.issue_with("provider", past), "has expired"),
        ];
        for (certificate, says) in cases {
            let provider = presenting(driver, &origin, &certificate);
            let caller =
                calling(driver, provider.conf().incoming, |conf| conf.verifies(CLIENT, &authority.pem));
            let response = caller.connect().get("provider", "/");
            is_refused(&response, "UF", says);
            assert_eq!(response.status, 503);
            assert_eq!(handshakes(&caller, "upstream", "bad_certificate"), 1);
            wait_until("the alert", PATIENCE, || handshakes(&provider, "downstream", "refused") == 1);
        }
        assert_eq!(origin.requests(), 0);
    });
}

#[test]
fn an_instance_that_cannot_prove_it_is_passed_over_and_the_log_says_which_and_why() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::answering("ok"));
        let good = presenting(driver, &origin, &authority.issue("provider"));
        let bad = presenting(driver, &origin, &Authority::new().issue("provider"));
        let instances = [bad.conf().incoming, good.conf().incoming];
        let conf = caller_conf(driver, &[("provider", &instances)]).verifies(CLIENT, &authority.pem);
        let caller = Start::new(conf).ready();
        let mut client = caller.connect();
        for _ in 0..6 {
            assert_eq!(client.get("provider", "/").text(), "ok");
        }
        assert!(handshakes(&caller, "upstream", "bad_certificate") >= 2);
        let failed = "a TLS handshake with an instance failed";
        caller.wait_for_output(failed);
        let output = caller.output();
        let told = output.lines().find(|line| line.contains(failed)).unwrap();
        let peer = format!("peer={}", instances[0]);
        assert!(told.contains(&peer) && told.contains("not from an issuer in caFile"), "{told}");
    });
}

#[test]
fn callers_without_a_certificate_of_ours_reach_nothing() {
    on_both_drivers(|driver| {
        let (authority, other, origin) = (Authority::new(), Authority::new(), Origin::answering("ok"));
        let conf = Conf::provider(driver, origin.address())
            .presents(LISTENER, &authority.issue("provider"))
            .verifies(LISTENER, &authority.pem);
        let mesher = start(conf, origin.address());
        let foreign = other.issue("caller");
        for (own, result) in [(None, "no_certificate"), (Some(&foreign), "bad_certificate")] {
            let config = Arc::new(trusting(&authority.pem, own));
            let refused = Secured::connect(mesher.conf().incoming, "provider", &config)
                .and_then(|mut client| client.get("a"))
                .unwrap_err();
            assert!(refused.to_string().contains("alert"), "{refused}");
            wait_until("the count", PATIENCE, || handshakes(&mesher, "downstream", result) == 1);
        }
        assert_eq!(origin.requests(), 0);
        // A sidecar that calls without one is told why.
        let caller = calling(driver, mesher.conf().incoming, |conf| conf.verifies(CLIENT, &authority.pem));
        is_refused(&caller.connect().get("provider", "/"), "UF", "wants a certificate of ours");
        wait_until("the count", PATIENCE, || handshakes(&caller, "upstream", "refused") == 1);
        caller.wait_for_output("the peer wants a certificate of ours");
    });
}

#[test]
fn what_an_instance_has_refused_to_look_at_is_sent_to_another() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::answering("ok"));
        let willing = presenting(driver, &origin, &authority.issue("provider"));
        let conf = Conf::provider(driver, origin.address())
            .presents(LISTENER, &authority.issue("provider"))
            .verifies(LISTENER, &authority.pem);
        let refusing = start(conf, origin.address());
        let instances = [refusing.conf().incoming, willing.conf().incoming];
        let conf = caller_conf(driver, &[("provider", &instances)]).verifies(CLIENT, &authority.pem);
        let caller = Start::new(conf).ready();
        let mut client = caller.connect();
        for _ in 0..4 {
            let request = "POST / HTTP/1.1\r\nHost: provider\r\nContent-Length: 2\r\n\r\nhi";
            assert_eq!(client.ask(request).text(), "ok");
        }
        wait_until("the count", PATIENCE, || handshakes(&caller, "upstream", "refused") >= 1);
        assert_eq!(origin.requests(), 4, "each once");
    });
}

#[test]
fn the_certificate_of_the_manual_is_believed_where_it_is_pinned() {
    on_both_drivers(|driver| {
        let (manual, origin) = (Certificate::of_the_manual(), Origin::answering("ok"));
        let conf = Conf::provider(driver, origin.address())
            .presents(LISTENER, &manual)
            .verifies(LISTENER, &manual.pem);
        let provider = start(conf, origin.address());
        let caller = calling(driver, provider.conf().incoming, |conf| {
            conf.presents(CLIENT, &manual).verifies(CLIENT, &manual.pem)
        });
        assert_eq!(caller.connect().get("provider", "/").text(), "ok");
    });
}

#[test]
fn certificates_change_under_load_and_no_request_fails() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::answering("ok"));
        let provider = presenting(driver, &origin, &authority.issue("provider"));
        let caller = calling(driver, provider.conf().incoming, |conf| conf.verifies(CLIENT, &authority.pem));
        let config = Arc::new(trusting(&authority.pem, None));
        let connect = || Secured::connect(provider.conf().incoming, "provider", &config).unwrap();
        let mut old = connect();
        assert_eq!(old.get("a").unwrap(), 200);
        let load = Load::start(caller.conf().outgoing, "http://provider/", 200);
        load.wait_for_answers(20);
        for round in 1..=2 {
            let fresh = authority.issue("provider");
            let before = connect().presented();
            provider.conf().place(LISTENER, &fresh);
            if round == 2 {
                provider.signal(Signal::HUP);
            }
            wait_until("the new certificate", PATIENCE, || connect().presented() != before);
            load.wait_for_answers(20);
        }
        assert_eq!(load.finish(), [""; 0]);
        assert_eq!(old.get("a").unwrap(), 200, "what was connected stays connected");
    });
}

#[test]
fn one_port_may_take_both_and_a_strict_one_says_what_it_wants() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::answering("ok"));
        let certificate = authority.issue("provider");
        let conf = Conf::provider(driver, origin.address()).presents(LISTENER, &certificate).set(
            "chassis.yaml",
            "ssl.provider.rest.Provider.mode",
            "permissive",
        );
        let permissive = start(conf, origin.address());
        let config = Arc::new(trusting(&authority.pem, None));
        let over_tls = |mesher: &Mesher| {
            Secured::connect(mesher.conf().incoming, "provider", &config).unwrap().get("a").unwrap()
        };
        let clear = |mesher: &Mesher| Client::connect(mesher.conf().incoming).get("a", "/");
        assert_eq!((over_tls(&permissive), clear(&permissive).status), (200, 200));
        let strict = presenting(driver, &origin, &certificate);
        let response = clear(&strict);
        assert_eq!(
            (over_tls(&strict), response.status, response.header("connection")),
            (200, 400, Some("close"))
        );
        is_refused(&response, "DPE", "HTTPS");
        assert_eq!(handshakes(&strict, "downstream", "not_tls"), 1);
    });
}

#[test]
fn tls_where_it_is_not_configured_is_closed_and_the_log_says_how_to_turn_it_on() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::answering("ok"));
        let mesher = start(Conf::provider(driver, origin.address()), origin.address());
        let config = Arc::new(trusting(&authority.pem, None));
        for _ in 0..3 {
            Secured::connect(mesher.conf().incoming, "provider", &config).err().unwrap();
        }
        mesher.wait_for_output("ssl.<service>.rest.Provider.certFile");
        wait_until("the count", PATIENCE, || handshakes(&mesher, "downstream", "not_configured") == 3);
        assert_eq!(
            mesher.output().matches("TLS is not configured on this listener").count(),
            1,
            "not once each"
        );
        let caller = calling(driver, mesher.conf().incoming, |conf| conf.verifies(CLIENT, &authority.pem));
        is_refused(&caller.connect().get("provider", "/"), "UF", "in the middle of the handshake");
    });
}

#[test]
fn https_is_not_called_in_the_clear_without_a_word() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("ok");
        let caller = calling(driver, origin.address(), |conf| conf);
        let response = caller.connect().ask("GET https://provider/ HTTP/1.1\r\nHost: provider\r\n\r\n");
        assert_eq!(response.status, 501);
        is_refused(&response, "NR", "ssl.provider.rest.Consumer");
        assert_eq!(origin.requests(), 0);
        assert_eq!(
            caller.connect().ask("GET http://provider/ HTTP/1.1\r\nHost: provider\r\n\r\n").status,
            200
        );
    });
}

#[test]
fn a_response_that_only_its_end_ends_is_whole_if_the_end_was_said() {
    on_both_drivers(|driver| {
        let authority = Authority::new();
        let body = "y".repeat(1 << 20);
        let origin = Origin::start(move |seen| match &*seen.request.target {
            "/whole" => Reply::close_delimited(&body),
            _ => Reply::default()
                .send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
                .close(),
        });
        let mesher = presenting(driver, &origin, &authority.issue("provider"));
        let config = Arc::new(trusting(&authority.pem, None));
        let fetch = |path: &str| {
            let mut client = Secured::connect(mesher.conf().incoming, "provider", &config).unwrap();
            client.stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: a\r\n\r\n").as_bytes()).unwrap();
            let mut all = Vec::new();
            client.stream.read_to_end(&mut all).map(|_| all)
        };
        assert!(fetch("/whole").unwrap().ends_with(b"yyyy"));
        fetch("/broken").unwrap_err();
    });
}

#[test]
fn instances_that_want_tls_are_called_once_a_reload_says_how() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::answering("ok"));
        let provider = presenting(driver, &origin, &authority.issue("provider"));
        let endpoint = format!("rest://{}?sslEnabled=true", provider.conf().incoming);
        let registry =
            format!("services:\n  provider:\n    - version: 0.0.1\n      endpoints: [\"{endpoint}\"]\n");
        let mut caller = Start::new(caller_conf(driver, &[]).file("registry.yaml", &registry)).ready();
        let mut kept = caller.connect();
        is_refused(&kept.get("provider", "/"), "UH", "ssl.provider.rest.Consumer");
        let ca = caller.conf().path().join("ca.pem").display().to_string();
        caller.conf().replace("ca.pem", &authority.pem);
        caller.conf_mut().change("chassis.yaml", "ssl.provider.rest.Consumer.caFile", ca);
        caller.conf_mut().change("chassis.yaml", "ssl.provider.rest.Consumer.verifyPeer", true);
        caller.signal(Signal::HUP);
        wait_until("the call by TLS", PATIENCE, || kept.get("provider", "/").status == 200);
        assert_eq!(handshakes(&caller, "upstream", "full"), 1);
    });
}
