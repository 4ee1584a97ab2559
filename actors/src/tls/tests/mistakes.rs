//! What is wrong with keys and files, and how it is said.

use super::*;

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

#[test]
fn an_authority_that_nobody_is_verified_by_is_not_read_and_a_listener_is_warned_of_it() {
    let (home, authority) = (Home::new(), Authority::new());
    home.put("me", &authority.issue(&["me"]));
    let consumer = "ssl.a.rest.Consumer.caFile: gone.crt\n";
    let (_, report) = home.read(&format!("{LISTENER}ssl.me.rest.Provider.caFile: gone.crt\n{consumer}"));
    assert!(!report.has_errors(), "{:#?}", problems(&report));
    has(&report, "W0302", "`ssl.me.rest.Provider.caFile` has no effect");
    has(&report, "W0306", "`ssl.a.rest.Consumer.verifyPeer` is not true");
    let (_, report) = home.read(&format!("{LISTENER}{consumer}ssl.a.rest.Consumer.verifyPeer: true\n"));
    has(&report, "E0204", "gone.crt: there is no such file");
}

#[test]
fn keys_for_a_registry_that_is_called_in_the_clear_are_warned_of() {
    let (home, authority) = (Home::new(), Authority::new());
    home.write("ca.crt", &authority.pem);
    let keys = "ssl.registry.Consumer: {verifyPeer: true, caFile: ca.crt}\n";
    for address in ["", "servicecomb.registry.address: http://127.0.0.1:30100\n"] {
        let (_, report) = home.read(&format!("{address}{keys}"));
        has(&report, "W0302", "`ssl.registry.Consumer` has no effect: no address");
    }
    home.good(&format!("servicecomb.registry.address: https://127.0.0.1:30100\n{keys}"));
    let (_, report) = home.read(&format!("servicecomb.registry.type: file\n{keys}"));
    has(&report, "W0302", "`ssl.registry.Consumer` has no effect: `servicecomb.registry.type` is `file`");
}
