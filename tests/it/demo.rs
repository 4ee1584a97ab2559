//! What a new user tries first, on the ports that the manual names. Those are few and fixed, so one test at a time has
//! them, of all test processes on the machine; if a foreign process has one of them the test is skipped and says so.

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::path::Path;

use rustix::process::Signal;

use super::support::client::Client;
use super::support::origin::{Origin, Reply};
use super::support::process::{Process, code};
use super::support::wait::{PATIENCE, wait_for, wait_until};

const TRAFFIC: &str = "127.0.0.1:30101";
const ADMIN: &str = "127.0.0.1:30102";
const GET: &str = "GET http://RESTServer:8083/sayhello/peter HTTP/1.1\r\nHost: RESTServer:8083\r\n\r\n";

/// Has the ports for the time of a test; none if something foreign has one of them.
fn fixed_ports(addresses: &[&str]) -> Option<UnixListener> {
    // Gone with its process, however that ends, and as local to a network namespace as ports are.
    let name = UnixAddress::from_abstract_name("mesher-test-manual").unwrap();
    let guard =
        wait_for("the other test of the manual", 5 * PATIENCE, || UnixListener::bind_addr(&name).ok());
    for address in addresses {
        if let Err(error) = std::net::TcpListener::bind(address) {
            println!("skipped: {address}: {error}");
            return None;
        }
    }
    Some(guard)
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn ask() -> String {
    let response = Client::connect(at(TRAFFIC)).ask(GET);
    assert_eq!(response.status, 200, "{response:?}");
    response.text().trim_end().to_owned()
}

#[test]
fn the_demo_does_what_it_says() {
    let ports = [
        TRAFFIC,
        ADMIN,
        "127.0.0.1:8083",
        "127.0.0.2:8083",
        "127.0.0.1:30103",
        "127.0.0.3:30103",
        "127.0.0.1:30104",
        "127.0.0.4:30104",
        "127.0.0.1:30112",
        "127.0.0.1:30122",
    ];
    let Some(_ports) = fixed_ports(&ports) else { return };
    let mut demo = Process::start(&["demo"], Path::new("/"));
    demo.wait_for_output("ctrl-c ends it");
    for line in [
        "http_proxy=http://127.0.0.1:30101 curl http://RESTServer:8083/sayhello/peter",
        "curl -X POST http://127.0.0.1:8083/stop",
        "curl 'http://127.0.0.1:30102/ready?verbose'",
        "curl http://127.0.0.1:30102/metrics",
    ] {
        assert!(demo.output().contains(line), "{line}");
    }
    wait_until("the mesh", PATIENCE, || Client::connect(at(TRAFFIC)).ask(GET).status == 200);
    let answers: Vec<String> = (0..8).map(|_| ask()).collect();
    assert!(
        answers.iter().all(|answer| answer.contains("peter") && answer.contains("RESTServer-")),
        "{answers:?}"
    );
    assert!(
        answers.windows(3).all(|three| three[0] == three[2] && three[0] != three[1]),
        "in turn: {answers:?}"
    );
    let stopped = Client::connect(at("127.0.0.1:8083"))
        .ask("POST /stop HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(stopped.status < 300, "{stopped:?}");
    // No request fails while the instance goes, and the other one answers all of them afterwards.
    let mut in_a_row = 0;
    wait_until("the other instance to answer all", PATIENCE, || {
        in_a_row = if ask().contains("RESTServer-2") { in_a_row + 1 } else { 0 };
        in_a_row > 20
    });
    let ready = Client::connect(at(ADMIN)).get("x", "/ready?verbose");
    assert!(ready.status == 200 && ready.text().contains("RESTServer"), "{ready:?}");
    assert_eq!(Client::connect(at(ADMIN)).get("x", "/metrics").status, 200);
    demo.signal(Signal::INT);
    assert_eq!(code(demo.wait(PATIENCE)), 0);
    assert!(Client::try_connect(at(TRAFFIC)).is_err());
}

#[test]
fn the_shipped_configuration_runs_as_it_is_with_nothing_else_running() {
    let Some(_ports) = fixed_ports(&[TRAFFIC, ADMIN, "127.0.0.1:8083"]) else { return };
    let mut mesher = Process::start(&[], Path::new(env!("CARGO_MANIFEST_DIR")));
    mesher.wait_for_output("mesher runs");
    wait_until("it to be ready", PATIENCE, || {
        Client::try_connect(at(ADMIN)).is_ok_and(|mut admin| admin.get("x", "/ready").status == 200)
    });
    let refused = Client::connect(at(TRAFFIC)).ask(GET);
    assert_eq!((refused.status, refused.header("x-mesher-error").map(|e| &e[..3])), (503, Some("UF;")));
    {
        let _service = Origin::start_at(at("127.0.0.1:8083"), |seen| Reply::ok(&seen.request.target));
        assert_eq!(ask(), "/sayhello/peter", "the quick start: the service is there now");
    }
    // What the machine refuses is not the configuration's fault.
    let output = mesher.output();
    let mut warnings =
        output.lines().filter(|line| line.contains(" WARN ") && !line.contains("io_uring cannot be used"));
    assert_eq!(warnings.next(), None);
    mesher.signal(Signal::INT);
    assert_eq!(code(mesher.wait(PATIENCE)), 0);
}
