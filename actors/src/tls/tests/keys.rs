//! Keys and certificates from PEM.

use super::*;
use crate::tls::{KeyFault, PemFault};

const PASSPHRASE: &str = "open sesame";
/// In UTF-16 it has surrogates, and is longer than a block of SHA-1.
const LONG: &str = "Sésam, öffne dich: 芝麻开门 🔑, and once more until it is longer than a block";

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
        "ec.pkcs8.pbe-md5-des.pem",
        "ec.pkcs8.pbe-md5-rc2-64.pem",
        "ec.pkcs8.pbe-sha1-des.pem",
        "ec.pkcs8.pbe-sha1-rc2-64.pem",
        "ec.pkcs8.pbe-sha1-2des.pem",
        "ec.pkcs8.pbe-sha1-3des.pem",
        "ec.pkcs8.pbe-sha1-3des.noiter.pem",
        "ec.pkcs8.pbe-sha1-rc2-40.pem",
        "ec.pkcs8.pbe-sha1-rc2-128.pem",
        "ec.pkcs8.pbe-sha1-rc4-40.pem",
        "ec.pkcs8.pbe-sha1-rc4-128.pem",
        "rsa.aes256.pem",
        "rsa.pkcs8.aes-256-cbc.pem",
        "rsa.pkcs8.pbe-md5-des.pem",
        "rsa.pkcs8.pbe-sha1-3des.pem",
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
fn a_passphrase_may_be_empty_long_and_of_any_script() {
    let plain = load_key(&test_key("ec.sec1.pem"), None).unwrap();
    for (name, passphrase) in [
        ("ec.pkcs8.pbe-md5-des.empty.pem", ""),
        ("ec.pkcs8.pbe-sha1-3des.empty.pem", ""),
        ("ec.pkcs8.pbe-sha1-des.unicode.pem", LONG),
        ("ec.pkcs8.pbe-sha1-3des.unicode.pem", LONG),
    ] {
        let key = load_key(&test_key(name), Some(passphrase)).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(key.public_key(), plain.public_key(), "{name}");
        let longer = format!("{passphrase}.");
        assert_eq!(load_key(&test_key(name), Some(&longer)).unwrap_err(), KeyFault::Passphrase, "{name}");
    }
}

#[test]
fn what_cannot_be_read_says_what_it_is_and_nothing_of_the_key() {
    let fault = |bytes: &[u8]| load_key(bytes, Some(PASSPHRASE)).unwrap_err();
    assert_eq!(fault(&test_key("ec.pkcs8.costly.pem")), KeyFault::Costly);
    assert_eq!(fault(&test_key("ec.pkcs8.pbe-sha1-3des.costly.pem")), KeyFault::Costly);
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
fn an_encryption_that_is_not_read_is_named() {
    let fault =
        |oid: &[u8]| load_key(&encrypted(oid, &parameters(&[1; 8], &[1])), Some(PASSPHRASE)).unwrap_err();
    for (last, name) in [(1, "pbeWithMD2AndDES-CBC"), (4, "pbeWithMD2AndRC2-CBC")] {
        let fault = fault(&[PKCS5, &[last]].concat());
        assert_eq!(fault, KeyFault::Encryption(name.to_owned()));
        assert!(
            fault.to_string().ends_with("write it anew with `openssl pkcs8 -topk8 -v2 aes256`"),
            "{fault}"
        );
    }
    let other = fault(&[PKCS12, &[7]].concat());
    assert_eq!(other, KeyFault::Encryption("the unknown scheme 1.2.840.113549.1.12.1.7".to_owned()));
    let pbes2 = fault(&[PKCS5, &[13]].concat());
    assert_eq!(pbes2, KeyFault::Encryption("PBES2 with an unknown cipher or key derivation".to_owned()));
}

#[test]
fn rounds_have_a_bound_and_parameters_a_form() {
    let md5_des = [PKCS5, &[3]].concat();
    let sha1_3des = [PKCS12, &[3]].concat();
    for oid in [md5_des, sha1_3des] {
        let fault = |parameters: &[u8]| load_key(&encrypted(&oid, parameters), Some(PASSPHRASE)).unwrap_err();
        for (rounds, expected) in [
            (&[1][..], KeyFault::Passphrase),
            (&[0x7f, 0xff], KeyFault::Passphrase),
            (&[0x1e, 0x84, 0x81], KeyFault::Costly), // 2,000,001
            (&[0x7f, 0xff, 0xff, 0xff], KeyFault::Costly),
            (&[1, 0, 0, 0, 1], KeyFault::Costly), // 1, if only the lower 32 bits were looked at
            (&[0x7f; 8], KeyFault::Costly),
            (&[0x7f; 9], KeyFault::Damaged),
            (&[0], KeyFault::Damaged),
            (&[0xff], KeyFault::Damaged), // -1
            (&[], KeyFault::Damaged),
        ] {
            assert_eq!(fault(&parameters(&[1; 8], rounds)), expected, "{rounds:x?}");
        }
        for salt in [&[][..], &[1], &[1; 64], &[1; 65]] {
            assert_eq!(fault(&parameters(salt, &[1])), KeyFault::Passphrase, "{salt:x?}");
        }
        let only_salt = tlv(0x30, &tlv(4, &[1; 8]));
        let more = tlv(0x30, &[tlv(4, &[1; 8]), tlv(2, &[1]), tlv(2, &[1])].concat());
        for parameters in [vec![], vec![5, 0], only_salt, more] {
            assert_eq!(fault(&parameters), KeyFault::Damaged, "{parameters:x?}");
        }
    }
}

#[test]
fn an_encrypted_key_that_was_cut_off_is_damaged() {
    for name in ["ec.pkcs8.aes-256-cbc.pem", "ec.pkcs8.pbe-md5-des.pem", "ec.pkcs8.pbe-sha1-rc4-128.pem"] {
        let whole = pem::parse(test_key(name)).unwrap().into_contents();
        let fault = |der: &[u8]| load_key(&encrypted_pem(der), Some(PASSPHRASE)).unwrap_err();
        for length in 0..whole.len() {
            assert_eq!(fault(&whole[..length]), KeyFault::Damaged, "{name} to {length}");
        }
        assert_eq!(fault(&[&whole[..], &[0]].concat()), KeyFault::Damaged, "{name} and a byte");
    }
    // Its frame is whole, and what is encrypted is not.
    let mut der = pem::parse(test_key("ec.pkcs8.pbe-sha1-3des.pem")).unwrap().into_contents();
    let data = der.len() - 0x90;
    assert_eq!((der[2], der[data - 1]), (0xb1, 0x90));
    for cut in 1..16 {
        der.pop();
        (der[2], der[data - 1]) = (0xb1 - cut, 0x90 - cut);
        assert_eq!(
            load_key(&encrypted_pem(&der), Some(PASSPHRASE)).unwrap_err(),
            KeyFault::Passphrase,
            "{cut}"
        );
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
        for name in ["ec.aes256.pem", "ec.pkcs8.des3.pem", "ec.pkcs8.pbe-sha1-2des.pem", "ec.sec1.pem", "manual.crt"] {
            let mut bytes = test_key(name);
            let (at, cut) = (at % bytes.len(), cut % bytes.len());
            bytes[at] = byte;
            bytes.truncate(bytes.len() - cut / 8);
            let _ = load_key(&bytes, Some(&passphrase));
            let _ = load_certificates(&bytes);
        }
    }
}

/// Where the schemes of PKCS#5 and of PKCS#12 are among the object identifiers.
const PKCS5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5];
const PKCS12: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];

/// A PKCS#8 key with these parameters; what is encrypted is nothing.
fn encrypted(oid: &[u8], parameters: &[u8]) -> Vec<u8> {
    let algorithm = tlv(0x30, &[&tlv(6, oid), parameters].concat());
    encrypted_pem(&tlv(0x30, &[algorithm, tlv(4, &[7; 16])].concat()))
}

fn parameters(salt: &[u8], rounds: &[u8]) -> Vec<u8> {
    tlv(0x30, &[tlv(4, salt), tlv(2, rounds)].concat())
}

/// In DER.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap();
    let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [&head[..], content].concat()
}

fn encrypted_pem(der: &[u8]) -> Vec<u8> {
    pem::encode(&pem::Pem::new("ENCRYPTED PRIVATE KEY", der)).into_bytes()
}
