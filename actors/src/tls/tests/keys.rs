//! Keys and certificates from PEM.

use super::*;
use crate::tls::{KeyFault, PemFault};

const PASSPHRASE: &str = "open sesame";

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
