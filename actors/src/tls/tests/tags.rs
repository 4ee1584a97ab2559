//! Which keys of the configuration count for whom.

use super::*;

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
