//! TLS as a whole: keys and files in, handshakes out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError, Error, HandshakeKind, ServerConfig};

use super::bench::{Authority, Home, shake, shake_as};
use super::{Keeper, KeyFault, PemFault, Tls, load_certificates, load_key};
use crate::config::Report;
use crate::snapshot::Protocol;
use crate::snapshot::tls::TlsClient;
use crate::status::StatusBoard;

const PASSPHRASE: &str = "open sesame";
const LISTENER: &str = "ssl.me.rest.Provider: {certFile: me.crt, keyFile: me.key}\n";
const VERIFIED: &str = "ssl.rest.Consumer: {verifyPeer: 'true', caFile: ca.crt}\n";
/// For something to be noticed.
const PATIENCE: Duration = Duration::from_secs(10);

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
fn called_as(names: &[&str], service: &str) -> Result<super::bench::Shaken, Error> {
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

// === keys from PEM ===

#[test]
fn every_form_of_a_key_is_read() {
    for name in ["ec.sec1.pem", "ec.pkcs8.pem", "rsa.pkcs1.pem", "ed25519.pkcs8.pem"] {
        assert!(load_key(&test_key(name), None).is_ok(), "{name}");
        assert!(load_key(&test_key(name), Some("not needed")).is_ok(), "{name}");
    }
}

#[test]
fn every_encryption_of_a_key_is_read() {
    let plain = load_key(&test_key("ec.sec1.pem"), None).unwrap();
    for name in [
        "ec.aes128.pem",
        "ec.aes192.pem",
        "ec.aes256.pem",
        "ec.des3.pem",
        "ec.des.pem",
        "ec.pkcs8.aes-128-cbc.pem",
        "ec.pkcs8.aes-192-cbc.pem",
        "ec.pkcs8.aes-256-cbc.pem",
        "ec.pkcs8.des3.pem",
        "ec.pkcs8.sha1.pem",
        "ec.pkcs8.scrypt.pem",
        "rsa.aes256.pem",
        "rsa.pkcs8.aes-256-cbc.pem",
    ] {
        let key = load_key(&test_key(name), Some(PASSPHRASE)).unwrap_or_else(|why| panic!("{name}: {why}"));
        if name.starts_with("ec.") {
            assert_eq!(key.public_key(), plain.public_key(), "{name}");
        }
        assert_eq!(load_key(&test_key(name), None).unwrap_err(), KeyFault::Encrypted, "{name}");
        assert_eq!(load_key(&test_key(name), Some("x")).unwrap_err(), KeyFault::Passphrase, "{name}");
    }
}

#[test]
fn what_cannot_be_read_says_what_it_is_and_nothing_of_the_key() {
    let fault = |bytes: &[u8]| load_key(bytes, Some(PASSPHRASE)).unwrap_err();
    assert!(matches!(fault(&test_key("ec.pkcs8.pbes1.pem")), KeyFault::Encryption(_)));
    assert_eq!(fault(&test_key("ec.pkcs8.costly.pem")), KeyFault::Costly);
    assert_eq!(fault(&test_key("manual.crt")), KeyFault::Pem(PemFault::Missing("PRIVATE KEY")));
    assert!(matches!(fault(b"hello"), KeyFault::Pem(PemFault::Malformed(_))));
    let openssh = test_text("ec.sec1.pem").replace("EC PRIVATE", "OPENSSH PRIVATE");
    assert_eq!(fault(openssh.as_bytes()), KeyFault::Kind("OPENSSH PRIVATE KEY".to_owned()));
    let other = test_text("ec.aes256.pem").replace("AES-256-CBC", "RC2-CBC");
    assert!(fault(other.as_bytes()).to_string().contains("RC2-CBC"));
    let text = test_text("ec.sec1.pem");
    let secret = text.lines().nth(4).unwrap();
    for broken in [text.replace(secret, &secret[1..]), text.replace(secret, &format!("#{secret}"))] {
        let fault = fault(broken.as_bytes());
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.contains(&secret[2..12]), "{shown}");
    }
}

#[test]
fn certificates_are_read_in_their_order_and_other_blocks_passed_over() {
    let both = [test_text("ec.sec1.pem"), test_text("manual.crt"), test_text("version1.crt")].concat();
    assert_eq!(load_certificates(both.as_bytes()).unwrap().len(), 2);
    let missing = load_certificates(&test_key("ec.sec1.pem")).unwrap_err();
    assert_eq!(missing, PemFault::Missing("CERTIFICATE"));
    let cut_off = load_certificates(&both.as_bytes()[..both.len() - 40]).unwrap_err();
    assert_eq!(cut_off, PemFault::Malformed("a block does not end"), "the certificate before it is not all");
    let mut damaged = pem::parse_many(&both).unwrap();
    damaged[2] = pem::Pem::new("CERTIFICATE", damaged[2].contents()[1..].to_vec());
    let damaged = damaged.iter().map(ToString::to_string).collect::<String>();
    assert_eq!(load_certificates(damaged.as_bytes()).unwrap_err(), PemFault::Damaged(2));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0usize..600, byte: u8, cut in 0usize..600, passphrase in "[a-z ]{0,12}") {
        for name in ["ec.aes256.pem", "ec.pkcs8.des3.pem", "ec.sec1.pem", "manual.crt"] {
            let mut bytes = test_key(name);
            let (at, cut) = (at % bytes.len(), cut % bytes.len());
            bytes[at] = byte;
            bytes.truncate(bytes.len() - cut / 8);
            let _ = load_key(&bytes, Some(&passphrase));
            let _ = load_certificates(&bytes);
        }
    }
}

// === which keys count ===

#[test]
fn without_keys_everything_is_plain() {
    let tls = Home::new().good("");
    assert!(tls.is_empty());
    let table = tls.table();
    assert!(table.local.is_none() && table.external.is_none());
    for protocol in [Protocol::Rest, Protocol::Grpc] {
        assert!(table.client("me", protocol).is_none() && table.client("users", protocol).is_none());
    }
    assert!(tls.registry().is_none() && tls.admin().is_none());
}

#[test]
fn the_more_specific_key_counts_key_by_key() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["orders.v1"]))
        .write("ca.crt", &authority.pem)
        .write("other.crt", &Authority::new().pem);
    // The tag has its own authority, and inherits that there is one to be verified by.
    let tls = home.good(&format!(
        "{LISTENER}ssl.rest.Consumer.verifyPeer: yes\nssl.rest.Consumer.caFile: other.crt\n\
         ssl.orders.v1.rest.Consumer.caFile: ca.crt\n"
    ));
    assert!(shake(&external(&tls), &rest(&tls, "orders.v1")).is_ok());
    let refused = shake(&external(&tls), &rest(&tls, "users")).unwrap_err();
    assert!(matches!(refused, Error::InvalidCertificate(CertificateError::UnknownIssuer)), "{refused}");
}

#[test]
fn keys_of_a_protocol_are_for_others_than_ourselves_and_for_that_protocol() {
    let (home, authority) = (Home::new(), Authority::new());
    home.write("ca.crt", &authority.pem);
    let table = home.good(VERIFIED).table();
    assert!(table.client("users", Protocol::Rest).is_some());
    assert!(table.client("me", Protocol::Rest).is_none());
    assert!(table.client("users", Protocol::Grpc).is_none());
    assert_eq!(table.local, None);
}

#[test]
fn one_service_may_be_called_in_the_clear() {
    let (home, authority) = (Home::new(), Authority::new());
    home.write("ca.crt", &authority.pem);
    let table = home.good(&format!("{VERIFIED}ssl.old.rest.Consumer.mode: disable\n")).table();
    assert!(table.client("old", Protocol::Rest).is_none());
    assert!(table.client("new", Protocol::Rest).is_some());
}

#[test]
fn a_key_without_a_tag_turns_on_everything_and_says_so() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"])).write("ca.crt", &authority.pem);
    let yaml = "ssl: {certFile: me.crt, keyFile: me.key, caFile: ca.crt, verifyPeer: on}\n";
    let (tls, report) = home.read(yaml);
    assert_eq!((report.errors(), report.warnings()), (0, 1), "{:#?}", problems(&report));
    has(&report, "W0305", "`ssl.verifyPeer` has no tag, so it turns on TLS everywhere");
    let table = tls.table();
    assert!(table.local.is_some() && table.external.is_some() && tls.admin().is_some());
    for protocol in [Protocol::Rest, Protocol::Grpc] {
        assert!(table.client("me", protocol).is_some() && table.client("users", protocol).is_some());
    }
    let (tls, _) = home.read(&format!("{yaml}ssl.mesher.Provider.mode: disable\n"));
    assert!(tls.table().local.is_none() && tls.table().external.is_some());
}

#[test]
fn a_mode_alone_is_no_tls() {
    let tls = Home::new().good("ssl.mode: strict\nssl.mesher.Provider.mode: permissive\n");
    assert!(tls.is_empty());
}

#[test]
fn a_permissive_listener_takes_plain_connections_too() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"]));
    let is_plain_too = |mode: &str| {
        let yaml = format!("{LISTENER}ssl.me.rest.Provider.mode: {mode}\n");
        home.good(&yaml).table().external.unwrap().plain_too
    };
    assert!(is_plain_too("permissive"));
    assert!(!is_plain_too("strict"));
    assert!(!home.good(LISTENER).table().external.unwrap().plain_too);
}

#[test]
fn a_client_is_the_same_each_time() {
    let (home, authority) = (Home::new(), Authority::new());
    home.write("ca.crt", &authority.pem);
    let table = home.good(VERIFIED).table();
    let client = |name| table.client(name, Protocol::Rest).unwrap();
    assert!(Arc::ptr_eq(&client("users"), &client("users")));
    assert_ne!(client("users"), client("orders"));
}

// === what is wrong ===

#[test]
fn all_that_is_wrong_is_reported_at_once_with_its_place() {
    let home = Home::new();
    home.write("empty.pem", "");
    let (_, report) = home.read(
        "ssl:\n\
         \x20 mesher.Provider.verifyPeer: true\n\
         \x20 me.rest.Provider.certFile: gone.crt\n\
         \x20 me.rest.Provider.keyFile: empty.pem\n\
         \x20 a.rest.Consumer.cipherSuits: TLS_RSA_WITH_RC4_128_SHA\n\
         \x20 a.rest.Consumer.protocol: SSLv3\n\
         \x20 a.rest.Consumer.cipherPlugin: aes\n\
         \x20 a.rest.Consumer.verifyPeer: maybe\n\
         \x20 a.rest.Consumer.mode: permissive\n\
         \x20 a.rest.Consumer.certFile: empty.pem\n\
         \x20 b.grpc.Consumer.protocol: TLSv1.0\n\
         \x20 b.grpc.Consumer.certFile: 'empty.pem, empty.pem'\n\
         \x20 b.grpc.Consumer.keyFile: empty.pem\n\
         \x20 c.grpc.Provider.certFile: x\n\
         \x20 a.rest.Consumer.caFlie: x\n",
    );
    has(&report, "E0202", "`ssl.mesher.Provider.verifyPeer` is true and `ssl.mesher.Provider.caFile` is not");
    has(&report, "E0202", "`ssl.mesher.Provider.certFile`");
    has(&report, "E0204", "gone.crt: there is no such file");
    has(&report, "E0304", "no cipher suite is called `TLS_RSA_WITH_RC4_128_SHA`");
    has(&report, "E0201", "`ssl.a.rest.Consumer.protocol`");
    has(&report, "E0304", "no cipher plug-in is called `aes`; registered are default");
    has(&report, "E0201", "`ssl.a.rest.Consumer.verifyPeer`");
    has(&report, "E0201", "`ssl.a.rest.Consumer.mode`");
    has(&report, "E0203", "`ssl.a.rest.Consumer.certFile` is set and `ssl.a.rest.Consumer.keyFile` is not");
    has(&report, "E0203", "`ssl.b.grpc.Consumer.certFile` names 2 files and `ssl.b.grpc.Consumer.keyFile` 1");
    has(&report, "W0303", "TLSv1.0 is broken");
    has(&report, "W0302", "`ssl.c.grpc.Provider` has no effect");
    has(&report, "W0103", "did you mean `caFile`?");
    let placed = problems(&report).iter().filter(|p| p.contains("chassis.yaml:")).count();
    assert!(placed >= 12, "{:#?}", problems(&report));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"])).write("me.key", &authority.issue(&["me"]).key);
    let (_, report) = home.read(LISTENER);
    has(&report, "E0204", "the key is not that of the first certificate in");
}

#[test]
fn the_passphrase_is_trimmed_and_never_shown() {
    let home = Home::new();
    home.write("me.crt", &test_text("version1.crt")).write("me.key", &test_text("ec.aes256.pem"));
    let yaml = format!("{LISTENER}ssl.me.rest.Provider.certPwdFile: pwd\n");
    home.write("pwd", " open sesame\n");
    let tls = home.good(&yaml);
    assert!(!format!("{tls:?}").contains("sesame"));
    home.write("pwd", "close sesame");
    let (_, report) = home.read(&yaml);
    has(&report, "E0204", "me.key: it cannot be decrypted");
    assert!(!problems(&report).concat().contains("sesame"));
}

#[test]
fn a_certificate_that_has_ended_is_warned_of_where_it_is_named() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue_until(&["me"], 2080)).write("ca.crt", &authority.pem);
    let (tls, _) = home
        .read(&format!("{LISTENER}ssl.rest.Consumer.certFile: me.crt\nssl.rest.Consumer.keyFile: me.key\n"));
    let warnings = |now_s| {
        let mut report = Report::default();
        tls.inspect(now_s, &mut report);
        assert!(!report.has_errors());
        problems(&report)
    };
    let end = ends(&tls);
    assert_eq!(warnings(end), [""; 0]);
    let all = warnings(end + 1);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert!(all[0].starts_with("W0204") && all[0].contains("me.crt: the certificate has ended"), "{all:#?}");
    assert!(all[0].contains("chassis.yaml:1:"), "{all:#?}");
}

#[test]
fn those_who_are_not_verified_are_warned_of() {
    let (_, report) = Home::new().read("ssl.a.rest.Consumer.protocol: TLSv1.3\n");
    has(&report, "W0306", "`ssl.a.rest.Consumer.verifyPeer` is not true");
    let (_, report) = Home::new().read("ssl.protocol: TLSv1.3\n");
    has(&report, "W0306", "`ssl.protocol` asks for TLS with all that is called");
    let warnings = problems(&report).iter().filter(|p| p.starts_with("W0306")).count();
    assert_eq!(warnings, 1, "{:#?}", problems(&report));
    let (tls, report) = Home::new().read("servicecomb.registry.address: https://127.0.0.1:30100\n");
    has(&report, "W0306", "the certificate of the registry is not verified");
    assert!(tls.registry().is_some());
}

// === handshakes ===

#[test]
fn a_service_that_bears_its_name_is_believed() {
    let shaken = called_as(&["orders"], "orders").unwrap();
    assert_eq!(shaken.server_name.as_deref(), Some("orders"));
    assert_eq!(shaken.alpn.as_deref(), Some(&b"http/1.1"[..]));
    assert!(called_as(&["*.shop"], "orders.shop").is_ok());
    assert!(called_as(&["pay_ments"], "pay_ments").is_ok());
}

#[test]
fn a_service_that_bears_another_name_is_not() {
    let refused = called_as(&["users"], "orders").unwrap_err();
    assert!(
        matches!(refused, Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. })),
        "{refused}"
    );
    assert!(called_as(&["*.shop"], "a.orders.shop").is_err());
    assert!(called_as(&[], "orders").is_err());
}

#[test]
fn names_that_dns_does_not_have_are_verified_letter_by_letter_and_not_sent() {
    let long = "a".repeat(64);
    for odd in ["orders.1", "a-.b", &long] {
        let shaken = called_as(&["x", odd], odd).unwrap_or_else(|why| panic!("{odd}: {why}"));
        assert_eq!(shaken.server_name, None);
        let refused = called_as(&["x"], odd).unwrap_err();
        assert!(matches!(refused, Error::InvalidCertificate(CertificateError::NotValidForName)), "{refused}");
    }
}

#[test]
fn a_certificate_that_has_ended_is_refused() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue_until(&["me"], 2020)).write("ca.crt", &authority.pem);
    let tls = home.good(&format!("{LISTENER}{VERIFIED}"));
    let refused = shake(&external(&tls), &rest(&tls, "me-too")).unwrap_err();
    assert!(
        matches!(refused, Error::InvalidCertificate(CertificateError::ExpiredContext { .. })),
        "{refused}"
    );
}

#[test]
fn the_certificate_of_the_manual_is_pinned_on_both_sides() {
    let home = Home::new();
    home.write("me.crt", &test_text("manual.crt")).write("me.key", &test_text("rsa.pkcs1.pem"));
    let tls = home.good(
        "ssl.me.rest.Provider: {certFile: me.crt, keyFile: me.key, verifyPeer: 'true', caFile: me.crt}\n\
         ssl.rest.Consumer: {certFile: me.crt, keyFile: me.key, verifyPeer: 'true', caFile: me.crt}\n",
    );
    assert!(shake(&external(&tls), &rest(&tls, "whatever")).is_ok());
}

#[test]
fn a_pinned_certificate_still_proves_its_key() {
    // Shows the certificate of the manual with a key of its own.
    let home = Home::new();
    home.write("me.crt", &test_text("manual.crt")).write("me.key", &test_text("rsa.pkcs1.pem"));
    let tls = home.good(
        "ssl.rest.Consumer: {verifyPeer: true, caFile: me.crt}\n\
         ssl.me.rest.Provider: {certFile: me.crt, keyFile: me.key}\n",
    );
    let chain = load_certificates(&test_key("manual.crt")).unwrap();
    let key = load_key(&test_key("ec.sec1.pem"), None).unwrap();
    let liar = Arc::new(rustls::sign::CertifiedKey::new(chain, key));
    let mut config = (*external(&tls)).clone();
    config.cert_resolver = Arc::new(rustls::sign::SingleCertAndKey::from(liar));
    let refused = shake(&Arc::new(config), &rest(&tls, "whatever")).unwrap_err();
    assert!(matches!(refused, Error::InvalidCertificate(_) | Error::PeerMisbehaved(_)), "{refused}");
}

#[test]
fn a_certificate_of_version_1_serves_those_who_do_not_verify() {
    let home = Home::new();
    home.write("me.crt", &test_text("version1.crt")).write("me.key", &test_text("ec.sec1.pem"));
    let tls = home.good(&format!("{LISTENER}ssl.rest.Consumer.protocol: TLSv1.3\n"));
    assert!(shake(&external(&tls), &rest(&tls, "whatever")).is_ok());
}

#[test]
fn a_listener_that_verifies_refuses_strangers() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"]))
        .put("caller", &authority.issue(&["caller"]))
        .put("stranger", &Authority::new().issue(&["caller"]))
        .write("ca.crt", &authority.pem);
    let tls = home.good(&format!(
        "{LISTENER}ssl.me.rest.Provider.verifyPeer: 'yes'\nssl.me.rest.Provider.caFile: ca.crt\n{VERIFIED}\
         ssl.with.rest.Consumer: {{certFile: caller.crt, keyFile: caller.key, verifyPeer: 'no'}}\n\
         ssl.wrong.rest.Consumer: {{certFile: stranger.crt, keyFile: stranger.key, verifyPeer: 'no'}}\n"
    ));
    let server = external(&tls);
    assert!(shake(&server, &rest(&tls, "with")).is_ok());
    let without = shake(&server, &rest(&tls, "me-too")).unwrap_err();
    assert!(matches!(without, Error::InvalidCertificate(_) | Error::NoCertificatesPresented), "{without}");
    assert!(shake(&server, &rest(&tls, "wrong")).is_err());
}

#[test]
fn sessions_are_resumed() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["orders"])).write("ca.crt", &authority.pem);
    for least in ["TLSv1.2", "TLSv1.3"] {
        let tls = home.good(&format!("{LISTENER}{VERIFIED}ssl.me.rest.Provider.protocol: {least}\n"));
        let (server, client) = (external(&tls), rest(&tls, "orders"));
        assert_eq!(shake(&server, &client).unwrap().kind, HandshakeKind::Full);
        assert_eq!(shake(&server, &client).unwrap().kind, HandshakeKind::Resumed);
        // Another service that lives there must show its own name all the same.
        assert!(shake(&server, &rest(&tls, "users")).is_err());
    }
}

#[test]
fn suites_of_tls_1_2_are_those_chosen() {
    const SUITE: &str = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["orders"])).write("ca.crt", &authority.pem);
    let tls = home.good(&format!("{LISTENER}ssl.me.rest.Provider.cipherSuits: {SUITE}\n{VERIFIED}"));
    let client = rest(&tls, "orders");
    let mut old = rustls::ClientConfig::builder_with_provider(super::suites::provider(&super::suites::all()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    old.dangerous().set_certificate_verifier(Arc::new(super::verify::Credulous(super::verify::Proof::new(
        &super::suites::provider(&[]),
    ))));
    let shaken = shake_as(&external(&tls), &Arc::new(old), client.server_name.clone()).unwrap();
    assert_eq!(shaken.suite, SUITE);
}

#[test]
fn grpc_offers_http_2() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"])).write("ca.crt", &authority.pem);
    let tls =
        home.good(&format!("{LISTENER}ssl.orders.grpc.Consumer: {{caFile: ca.crt, verifyPeer: 'false'}}\n"));
    let client = tls.table().client("orders", Protocol::Grpc).unwrap();
    assert_eq!(shake(&external(&tls), &client).unwrap().alpn.as_deref(), Some(&b"h2"[..]));
}

#[test]
fn a_listener_with_several_certificates_shows_the_one_that_is_asked_for() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("a", &authority.issue(&["a"]))
        .put("b", &authority.issue(&["b"]))
        .write("ca.crt", &authority.pem);
    let tls = home.good(&format!(
        "ssl.me.rest.Provider: {{certFile: 'a.crt, b.crt', keyFile: [a.key, b.key]}}\n{VERIFIED}"
    ));
    for name in ["a", "b"] {
        assert!(shake(&external(&tls), &rest(&tls, name)).is_ok(), "{name}");
    }
    let refused = shake(&external(&tls), &rest(&tls, "c"));
    assert!(refused.is_err(), "the default is shown, and is not c");
}

// === when files change ===

/// A keeper and what it tells.
struct Kept {
    status: Arc<StatusBoard>,
    news: flume::Receiver<Tls>,
    keeper: Keeper,
}

impl Kept {
    fn start(tls: &Tls) -> Self {
        let (tell, news) = flume::unbounded();
        let status = StatusBoard::new();
        let changed = Box::new(move |tls| tell.send(tls).unwrap());
        let keeper = Keeper::start(tls.clone(), status.clone(), changed).unwrap();
        let kept = Self { status, news, keeper };
        kept.wait("it to begin", |status| !status.certificates.is_empty());
        kept
    }

    #[track_caller]
    fn next(&self) -> Tls {
        self.news.recv_timeout(PATIENCE).expect("nothing was told in time")
    }

    #[track_caller]
    fn wait(&self, what: &str, holds: impl Fn(&crate::status::Status) -> bool) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !holds(&self.status.read()) {
            assert!(std::time::Instant::now() < deadline, "waited for {what}: {:?}", self.status.read());
            std::thread::yield_now();
        }
    }
}

fn ends(tls: &Tls) -> i64 {
    tls.expiries().iter().find(|expiry| expiry.file.ends_with("me.crt")).unwrap().not_after_s
}

#[test]
fn a_new_certificate_is_taken_up_and_what_did_not_change_stays_the_same() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue_until(&["orders"], 2080)).write("ca.crt", &authority.pem);
    let old = home.good(&format!("{LISTENER}{VERIFIED}"));
    let kept = Kept::start(&old);
    home.put("me", &authority.issue_until(&["orders"], 2085));
    let new = kept.next();
    assert!(ends(&new) > ends(&old));
    let (old_table, new_table) = (old.table(), new.table());
    assert_ne!(new_table.external, old_table.external);
    assert_eq!(new_table.rest, old_table.rest, "sessions of clients live on");
    assert!(shake(&external(&new), &rest(&old, "orders")).is_ok());
    kept.wait("the new end", |status| status.certificates == new.expiries());
}

#[test]
fn a_config_map_that_is_swapped_is_noticed() {
    let (home, authority) = (Home::new(), Authority::new());
    home.write("ca.crt", &authority.pem);
    for (dir, year) in [("..1", 2080), ("..2", 2085)] {
        fs::create_dir(home.path().join(dir)).unwrap();
        let issued = authority.issue_until(&["orders"], year);
        home.write(&format!("{dir}/me.crt"), &issued.certificate)
            .write(&format!("{dir}/me.key"), &issued.key);
    }
    symlink("..1", home.path().join("..data")).unwrap();
    for name in ["me.crt", "me.key"] {
        symlink(format!("..data/{name}"), home.path().join(name)).unwrap();
    }
    let old = home.good(LISTENER);
    let kept = Kept::start(&old);
    symlink("..2", home.path().join("..data_tmp")).unwrap();
    fs::rename(home.path().join("..data_tmp"), home.path().join("..data")).unwrap();
    assert!(ends(&kept.next()) > ends(&old));
}

#[test]
fn a_broken_file_keeps_the_last_good_one_and_says_so() {
    let (home, authority) = (Home::new(), Authority::new());
    let good = authority.issue(&["orders"]);
    home.put("me", &good).write("ca.crt", &authority.pem);
    let tls = home.good(&format!("{LISTENER}{VERIFIED}"));
    let kept = Kept::start(&tls);
    home.write("me.crt", "-----BEGIN CERT");
    kept.wait("the fault", |status| {
        status.certificate_faults.iter().any(|fault| fault.starts_with("`ssl.me.rest.Provider.certFile`"))
    });
    home.write("me.crt", &good.certificate);
    kept.wait("its end", |status| status.certificate_faults.is_empty());
    assert!(kept.news.is_empty(), "nothing has changed");
    // A fault of one tag does not keep another from being renewed.
    home.write("me.crt", "").write("ca.crt", &Authority::new().pem);
    let new = kept.next();
    assert_eq!(new.table().external, tls.table().external);
    assert!(shake(&external(&new), &rest(&new, "orders")).is_err());
}

#[test]
fn a_configuration_that_was_read_again_is_watched_from_then_on() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"])).put("you", &authority.issue_until(&["me"], 2080));
    let old = home.good(LISTENER);
    let kept = Kept::start(&old);
    let fresh = home.good("ssl.me.rest.Provider: {certFile: you.crt, keyFile: you.key}\n");
    kept.keeper.replace(fresh.keeping(&old));
    kept.wait("the other file", |status| status.certificates.iter().all(|e| e.file.ends_with("you.crt")));
    home.put("you", &authority.issue_until(&["me"], 2085));
    kept.next();
}

#[test]
fn a_reload_keeps_what_says_the_same() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"])).write("ca.crt", &authority.pem);
    let old = home.good(&format!("{LISTENER}{VERIFIED}"));
    let again = home.good(&format!("{LISTENER}{VERIFIED}"));
    assert_ne!(again.table(), old.table());
    assert_eq!(again.keeping(&old).table(), old.table());
}

#[test]
fn expiries_are_those_of_the_first_to_end_of_a_chain_and_the_last_of_those_to_trust() {
    let (home, authority) = (Home::new(), Authority::new());
    let issued = |year| authority.issue_until(&["me"], year).certificate;
    let me = authority.issue_until(&["me"], 2080);
    home.write("me.crt", &[me.certificate, issued(2070)].concat()).write("me.key", &me.key);
    home.write("ca.crt", &[issued(2020), issued(2085)].concat());
    let tls = home.good(&format!("{LISTENER}{VERIFIED}"));
    let year = |name: &str| {
        let expiries = tls.expiries();
        let at = expiries.iter().find(|expiry| expiry.file.ends_with(name)).unwrap().not_after_s;
        time::OffsetDateTime::from_unix_timestamp(at).unwrap().year()
    };
    assert_eq!((year("me.crt"), year("ca.crt")), (2070, 2085));
}
