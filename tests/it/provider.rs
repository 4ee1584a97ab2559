//! The providing sidecar: what other sidecars send to the local service.

use super::support::client::{Client, Response};
use super::support::conf::Conf;
use super::support::mesh::{PROVIDER, on_both_drivers, provider};
use super::support::net::{free_address, free_host};
use super::support::origin::{Origin, Reply};
use super::support::process::{Mesher, Start};

const OPEN_PORTS: &str = "no service port is configured";

/// Sends a request to the address that other sidecars use.
#[track_caller]
fn ask(mesher: &Mesher, headers: &str) -> Response {
    let request = format!("GET /p HTTP/1.1\r\nHost: {PROVIDER}:8080\r\n{headers}\r\n");
    Client::connect(mesher.conf().incoming).ask(request)
}

fn named(origin: &Origin) -> String {
    format!("X-Forwarded-Port: {}\r\n", origin.address().port())
}

#[track_caller]
fn is_refused(response: &Response, status: u16, flag: &str, says: &str) {
    let error = response.header("x-mesher-error").unwrap_or_default();
    assert_eq!(response.status, status, "{response:?}");
    assert!(error.starts_with(flag) && error.contains(says), "{error:?}");
}

#[test]
fn a_request_reaches_the_configured_port_and_is_forwarded_to_the_byte() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("local");
        let mesher = provider(driver, origin.address());
        let request = "GET /p?q=%20 HTTP/1.1\r\nHost: provider:8080\r\nX-A: 1\r\nX-Forwarded-For: 10.0.0.1\r\n\
                       X-Cse-Context: {\"x-cse-src-microservice\":\"caller\"}\r\n\r\n";
        assert_eq!(Client::connect(mesher.conf().incoming).ask(request).text(), "local");
        let expected = "GET /p?q=%20 HTTP/1.1\r\nHost: provider:8080\r\nX-A: 1\r\n\
                        X-Cse-Context: {\"x-cse-src-microservice\":\"caller\"}\r\n\
                        X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\nX-Forwarded-Host: provider:8080\r\nX-Forwarded-Proto: http\r\n\r\n";
        assert_eq!(String::from_utf8_lossy(&origin.seen()[0].request.raw), expected);
        assert!(!mesher.output().contains(OPEN_PORTS));
    });
}

#[test]
fn a_caller_may_name_the_configured_ports_and_no_other() {
    on_both_drivers(|driver| {
        let [first, second, other] = ["first", "second", "other"].map(Origin::answering);
        let conf = Conf::sidecar(PROVIDER).driver(driver);
        let ports = format!("rest:{}, rest-admin:{}", first.address().port(), second.address().port());
        let mesher = Start::new(conf).arg("--service-ports").arg(ports).ready();
        assert_eq!(ask(&mesher, "").text(), "first");
        assert_eq!(ask(&mesher, "X-Forwarded-Port:\r\n").text(), "first");
        assert_eq!(ask(&mesher, &named(&first)).text(), "first");
        assert_eq!(ask(&mesher, &named(&second)).text(), "second");
        is_refused(&ask(&mesher, &named(&other)), 404, "NR", "--service-ports");
        is_refused(&ask(&mesher, "X-Forwarded-Port: http\r\n"), 400, "DPE", "X-Forwarded-Port");
        is_refused(&ask(&mesher, "X-Forwarded-Port: 80, 81\r\n"), 400, "DPE", "X-Forwarded-Port");
        assert_eq!(other.connections(), 0);
    });
}

#[test]
fn without_configured_ports_the_named_one_is_followed_and_one_warning_says_so() {
    on_both_drivers(|driver| {
        let [one, two] = ["one", "two"].map(Origin::answering);
        let mesher = Start::new(Conf::sidecar(PROVIDER).driver(driver)).ready();
        assert_eq!(ask(&mesher, &named(&one)).text(), "one");
        assert_eq!(ask(&mesher, &named(&two)).text(), "two");
        is_refused(&ask(&mesher, ""), 404, "NR", "--service-ports=rest:PORT");
        is_refused(&ask(&mesher, "X-Forwarded-Port: 0\r\n"), 404, "NR", "0");
        mesher.wait_for_output(OPEN_PORTS);
        let output = mesher.output();
        let warnings: Vec<_> = output.lines().filter(|line| line.contains(OPEN_PORTS)).collect();
        assert!(warnings.len() == 1 && warnings[0].contains("WARN"), "{warnings:?}");
    });
}

#[test]
fn no_caller_reaches_a_port_of_mesher_itself() {
    on_both_drivers(|driver| {
        let mesher = Start::new(Conf::sidecar(PROVIDER).driver(driver)).ready();
        let conf = mesher.conf();
        for port in [conf.outgoing.port(), conf.admin.port()] {
            is_refused(&ask(&mesher, &format!("X-Forwarded-Port: {port}\r\n")), 404, "NR", &port.to_string());
        }
    });
}

#[test]
fn the_named_host_is_never_followed() {
    on_both_drivers(|driver| {
        let origin = Origin::answering("local");
        let stranger = Origin::answering("stranger");
        let mesher = provider(driver, origin.address());
        let headers = format!("X-Forwarded-Host: {}\r\n", stranger.address());
        assert_eq!(ask(&mesher, &headers).text(), "local");
        let absolute = format!("GET http://{}/p HTTP/1.1\r\nHost: x\r\n\r\n", stranger.address());
        assert_eq!(Client::connect(mesher.conf().incoming).ask(absolute).text(), "local");
        assert_eq!(stranger.connections(), 0);
        assert_eq!(
            origin.seen()[0].request.header("x-forwarded-host"),
            Some(stranger.address().to_string().as_str())
        );
    });
}

#[test]
fn the_service_may_listen_on_another_address_of_the_machine() {
    on_both_drivers(|driver| {
        let origin = Origin::start_at((free_host(), 0).into(), |_| Reply::ok("elsewhere"));
        let mesher = provider(driver, origin.address());
        assert_eq!(ask(&mesher, "").text(), "elsewhere");
    });
}

#[test]
fn a_service_that_is_down_is_503_and_names_its_address() {
    on_both_drivers(|driver| {
        let nobody = free_address();
        let mesher = provider(driver, nobody);
        is_refused(&ask(&mesher, ""), 503, "UF", &nobody.to_string());
    });
}

#[test]
fn a_sidecar_on_the_loopback_address_has_no_way_in() {
    on_both_drivers(|driver| {
        let conf = Conf::sidecar(PROVIDER).driver(driver);
        let port = conf.outgoing.port();
        let incoming = conf.incoming;
        let conf =
            conf.set("chassis.yaml", "servicecomb.protocols.http.listenAddress", format!("127.0.0.1:{port}"));
        let mesher = Start::new(conf).ready();
        assert!(Client::try_connect(incoming).is_err());
        assert!(!mesher.output().contains(OPEN_PORTS), "nobody can choose a port");
        assert_eq!(mesher.connect().get("nobody", "http://nobody/").status, 503);
    });
}

#[test]
fn what_the_local_service_sends_does_not_go_through_the_way_in() {
    on_both_drivers(|driver| {
        let [local, remote] = ["local", "remote"].map(Origin::answering);
        let conf = Conf::sidecar(PROVIDER).driver(driver).services(&[("remote", &[remote.address()])]);
        let mesher = Start::new(conf).arg(format!("--service-ports=rest:{}", local.address().port())).ready();
        assert_eq!(mesher.connect().get("remote", "http://remote/").text(), "remote");
        let from_outside = Client::connect(mesher.conf().incoming).get("remote", "http://remote/");
        assert_eq!(from_outside.text(), "local", "the mesh is no open proxy");
    });
}

#[test]
fn the_first_of_flag_service_ports_and_specific_addr_names_the_port() {
    on_both_drivers(|driver| {
        let [flag, variable, old] = ["flag", "variable", "old"].map(Origin::answering);
        let port = |origin: &Origin| origin.address().port();
        let start = |with: [bool; 3]| {
            let mut start = Start::new(Conf::sidecar(PROVIDER).driver(driver));
            if with[0] {
                start = start.arg(format!("--service-ports=rest:{}", port(&flag)));
            }
            if with[1] {
                start = start.env("SERVICE_PORTS", &format!("rest:{}", port(&variable)));
            }
            if with[2] {
                start = start.env("SPECIFIC_ADDR", &format!("10.9.8.7:{}", port(&old)));
            }
            start.ready()
        };
        assert_eq!(ask(&start([true, true, true]), "").text(), "flag");
        assert_eq!(ask(&start([false, true, true]), "").text(), "variable");
        let mesher = start([false, false, true]);
        assert_eq!(ask(&mesher, "").text(), "old", "its host is ignored");
        mesher.wait_for_output("`SPECIFIC_ADDR` is deprecated");
    });
}
