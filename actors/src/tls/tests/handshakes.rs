//! Handshakes of what the configuration comes to.

use rustls::HandshakeKind;

use super::*;
use crate::tls::bench::shake_as;
use crate::tls::suites;
use crate::tls::verify::{Credulous, Proof};

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
fn a_certificate_that_no_authority_can_vouch_for_is_refused_in_words() {
    let cases = [
        ("manual.crt", "rsa.pkcs1.pem", "signs itself, and is none of those in caFile"),
        ("version1.crt", "ec.sec1.pem", "is of X.509 version 1; sign it anew"),
    ];
    for (certificate, key, says) in cases {
        let home = Home::new();
        home.write("me.crt", &test_text(certificate)).write("me.key", &test_text(key));
        home.write("ca.crt", &Authority::new().pem);
        let tls = home.good(&format!("{LISTENER}{VERIFIED}"));
        let refused = shake(&external(&tls), &rest(&tls, "me-too")).unwrap_err();
        let said = TlsReason(&refused).to_string();
        assert!(said.contains(says), "{said}");
    }
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
    let mut old = rustls::ClientConfig::builder_with_provider(suites::provider(&suites::all()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    old.dangerous().set_certificate_verifier(Arc::new(Credulous(Proof::new(&suites::provider(&[])))));
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
