//! The files that `ssl.*` names: checked at start, watched, and told of.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::process::Signal;

use super::support::conf::Conf;
use super::support::process::{Mesher, Start, run};
use super::support::tls::{Authority, Secured, trusting};
use super::support::wait::{PATIENCE, wait_until};

const METRIC: &str = "mesher_tls_certificate_not_after_seconds";

/// A certificate that signs itself, valid to the beginning of a year, and its key.
fn issue(year: i32) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["orders".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn put(conf: &Conf, (certificate, key): &(String, String)) {
    fs::write(conf.path().join("caller.key"), key).unwrap();
    fs::write(conf.path().join("caller.crt"), certificate).unwrap();
}

/// Shows a certificate to one service, and verifies nobody.
fn conf() -> Conf {
    let conf = Conf::sidecar("caller");
    let file = |name: &str| conf.path().join(name).display().to_string();
    let (certificate, key) = (file("caller.crt"), file("caller.key"));
    conf.set("tls.yaml", "ssl.orders.rest.Consumer.certFile", certificate).set(
        "tls.yaml",
        "ssl.orders.rest.Consumer.keyFile",
        key,
    )
}

#[track_caller]
fn wait_for_end(mesher: &Mesher, year: i32) {
    let seconds = u64::try_from(rcgen::date_time_ymd(year, 1, 1).unix_timestamp()).unwrap();
    wait_until(&format!("a certificate until {year}"), PATIENCE, || {
        mesher.metric_of(METRIC, "caller.crt") == seconds
    });
}

#[test]
fn a_file_that_cannot_be_used_is_an_error_at_the_key_that_names_it() {
    let conf = conf();
    fs::write(conf.path().join("caller.crt"), issue(2080).0).unwrap();
    let (code, output) = run(&["check", "--config", ".", "--format", "json"], conf.path());
    assert_eq!(code, 2, "{output}");
    assert!(output.contains("E0204") && output.contains("there is no such file"), "{output}");
    assert!(output.contains("tls.yaml:"), "{output}");
    put(&conf, &(issue(2080).0, issue(2080).1)); // of two pairs
    let (code, output) = run(&["check", "--config", ".", "--format", "json"], conf.path());
    assert_eq!(code, 2, "{output}");
    assert!(output.contains("the key is not that of the first certificate"), "{output}");
    put(&conf, &issue(2080));
    let (code, output) = run(&["check", "--config", ".", "--format", "json"], conf.path());
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("W0306"), "nobody is verified: {output}");
}

#[test]
fn a_new_certificate_is_taken_up_and_a_broken_one_is_not() {
    let conf = conf();
    put(&conf, &issue(2070));
    let mesher = Start::new(conf).ready();
    wait_for_end(&mesher, 2070);
    put(mesher.conf(), &issue(2080));
    wait_for_end(&mesher, 2080);
    mesher.wait_for_output("certificates renewed");
    fs::write(mesher.conf().path().join("caller.crt"), "broken").unwrap();
    mesher.wait_for_output("the last good one stays");
    wait_for_end(&mesher, 2080);
    let faults = &mesher.status()["details"]["certificate_faults"];
    assert!(faults[0].as_str().unwrap().contains("caller.crt: it is not PEM"), "{faults}");
}

#[test]
fn a_reload_goes_over_to_other_files() {
    let conf = conf();
    put(&conf, &issue(2070));
    let mut mesher = Start::new(conf).ready();
    wait_for_end(&mesher, 2070);
    let (certificate, key) = issue(2080);
    let other = mesher.conf().path().join("other.pem");
    fs::write(&other, format!("{certificate}{key}")).unwrap();
    for name in ["certFile", "keyFile"] {
        let key = format!("ssl.orders.rest.Consumer.{name}");
        mesher.conf_mut().change("tls.yaml", &key, other.display().to_string());
    }
    mesher.signal(Signal::HUP);
    wait_until("the other file", PATIENCE, || mesher.metric_of(METRIC, "other.pem") > 0);
    assert_eq!(mesher.metric_of(METRIC, "caller.crt"), 0);
    fs::write(&other, "").unwrap();
    mesher.signal(Signal::HUP);
    mesher.wait_for_output("the configuration is not reloaded");
    assert!(mesher.metric_of(METRIC, "other.pem") > 0, "what ran goes on");
}

const ADMIN: &str = "rest-admin.Provider";

fn is_live(connection: &mut Secured) -> bool {
    let answer = connection.ask(b"GET /live HTTP/1.1\r\nHost: admin\r\n\r\n");
    answer.is_ok_and(|(head, _)| head.starts_with("HTTP/1.1 200"))
}

#[test]
fn who_is_connected_to_the_admin_stays_so_when_its_certificate_changes() {
    let authority = Authority::new();
    let certificates = ["first", "second"].map(|_| authority.issue("caller"));
    let conf = Conf::sidecar("caller").presents(ADMIN, &certificates[0]);
    let admin: SocketAddr = conf.admin;
    let mut mesher = Start::new(conf).spawn();
    let trust = Arc::new(trusting(&authority.pem, None));
    let connect = || Secured::connect(admin, "caller", &trust);
    wait_until("the admin", PATIENCE, || connect().is_ok());
    let mut old = connect().unwrap();
    assert!(is_live(&mut old));
    mesher.conf().place(ADMIN, &certificates[1]);
    wait_until("the new certificate", PATIENCE, || {
        let mut fresh = connect().unwrap();
        assert!(is_live(&mut fresh) && is_live(&mut old));
        fresh.presented() != old.presented()
    });
    assert!(is_live(&mut old));
    for key in ["certFile", "keyFile"] {
        mesher.conf_mut().change("chassis.yaml", &format!("ssl.{ADMIN}.{key}"), "");
    }
    mesher.signal(Signal::HUP);
    wait_until("the plain admin", PATIENCE, || mesher.admin("/live").is_some_and(|live| live.status == 200));
    assert!(is_live(&mut old), "a reload cuts nobody either");
}
