//! The first bytes of a connection on a listener that speaks TLS.

use mesher_actors::snapshot::TlsServer;
use mesher_actors::snapshot::handshakes::TlsFailure;

use crate::codec::FirstBytes;
use crate::codec::fuzzing::pieces;
use crate::net::fuzzing::{HANDSHAKE_BYTES_MAX, Handshake, Hello};
use crate::proxy::secure::Beginning;

/// Type of a TLS record that carries an alert.
const TLS_ALERT: u8 = 0x15;
/// Bytes of the head of a record.
const RECORD_HEAD_BYTES: usize = 5;

/// What a listener makes of a connection.
#[derive(Debug, Clone, PartialEq)]
enum Greeted {
    /// Nothing has come.
    Silent,
    /// Requests in the clear.
    Clear,
    /// A handshake.
    Tls(Hello),
}

/// Arbitrary bytes as the beginning of a connection to a listener that takes TLS and plain text; the first byte seeds the
/// cuts.
///
/// - In the clear, answered with the same name and protocol, or refused with the same alert: it does not depend on the cuts.
/// - What follows a hello may break the handshake, and changes nothing else.
/// - No more than [`HANDSHAKE_BYTES_MAX`] are held of a hello that is not whole.
/// - What is taken for plain text would not have been a client hello, and what is taken for TLS, as a tunnel takes it, is
///   not found to be none by the head of its first record.
///
/// # Panics
/// If one of them does not hold.
pub fn fuzz_tls_client_hello(server: &TlsServer, data: &[u8]) {
    let [seed, data @ ..] = data else { return };
    let (greeted, end) = greet(server, data, 1, 0);
    for (step, seed) in [(end.max(1), 0), (29, *seed)] {
        assert_eq!(greet(server, &data[..end], step, seed).0, greeted, "depends on the cuts");
    }
    let (whole, _) = greet(server, data, data.len().max(1), 0);
    let is_broken_behind = matches!(greeted, Greeted::Tls(Hello::Answered { .. }))
        && matches!(whole, Greeted::Tls(Hello::Refused { .. }));
    assert!(whole == greeted || is_broken_behind, "{greeted:?}, and with what follows {whole:?}");
    agrees_with_tunnels(server, data, &greeted, end);
}

fn agrees_with_tunnels(server: &TlsServer, data: &[u8], greeted: &Greeted, end: usize) {
    let is_tls = FirstBytes::of(data) == FirstBytes::Tls;
    match greeted {
        Greeted::Silent => assert!(data.is_empty()),
        Greeted::Clear => {
            assert!(!is_tls);
            let hello = shake(server, data, 1, 0).0;
            // rustls overlooks a few warnings before a hello, which nobody sends.
            let is_hello = matches!(hello, Hello::Answered { .. }) && data[0] != TLS_ALERT;
            assert!(!is_hello, "a client hello was taken for plain text");
        }
        Greeted::Tls(hello) => {
            assert!(is_tls);
            let is_not = matches!(hello, Hello::Refused { failure: TlsFailure::NotTls, .. });
            assert!(!is_not || end > RECORD_HEAD_BYTES, "taken for TLS, and is none");
            assert!(*hello != Hello::Incomplete || data.len() <= HANDSHAKE_BYTES_MAX, "too much is held");
        }
    }
}

/// As a connection does: the first bytes say what it is, and are then the first of the handshake. Also how many bytes
/// it took to know.
fn greet(server: &TlsServer, data: &[u8], step: usize, seed: u8) -> (Greeted, usize) {
    let Some(first) = pieces(data, step, seed).next() else { return (Greeted::Silent, 0) };
    match Beginning::of(first, Some(server)) {
        Beginning::Tls => {
            let (hello, end) = shake(server, data, step, seed);
            (Greeted::Tls(hello), end)
        }
        Beginning::Clear => (Greeted::Clear, first.len()),
        other => panic!("{other:?} on a listener that takes both"),
    }
}

fn shake(server: &TlsServer, data: &[u8], step: usize, seed: u8) -> (Hello, usize) {
    let mut pieces = pieces(data, step, seed);
    let first = pieces.next().unwrap_or_default();
    let mut handshake = Handshake::begin(&server.config, first).unwrap();
    let (mut hello, mut end) = (handshake.hello(), first.len());
    for piece in pieces {
        if hello != Hello::Incomplete {
            break;
        }
        handshake.receive(piece);
        end += piece.len();
        hello = handshake.hello();
    }
    (hello, end)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;
    use crate::codec::fuzzing::seeds::replay;

    static SERVER: LazyLock<TlsServer> = LazyLock::new(mesher_actors::tls::fuzzing::listener);

    #[test]
    fn the_seeds_of_client_hellos_hold() {
        replay("tls_client_hello", |data| fuzz_tls_client_hello(&SERVER, data));
    }

    /// A client hello of `length` bytes in records of `size`, as far as they are of no use without the rest.
    fn endless(length: usize, size: usize) -> Vec<u8> {
        let mut hello = vec![1];
        hello.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
        hello.resize(length + 3, 0);
        let record = |part: &[u8]| {
            let head = [0x16, 3, 1].into_iter().chain(u16::try_from(part.len()).unwrap().to_be_bytes());
            head.chain(part.iter().copied()).collect::<Vec<u8>>()
        };
        hello.chunks(size).flat_map(record).collect()
    }

    #[test]
    fn of_a_hello_that_does_not_end_no_more_is_held_than_the_bound() {
        for (length, size) in
            [(0xffff, 1), (0xffff, 16_384), (0xff_ffff, 16_384), (0x4000, 1), (0x1_0000, 100)]
        {
            let data = endless(length, size);
            for step in [1, 1_000, data.len()] {
                let (hello, end) = shake(&SERVER, &data, step, 0);
                let is_refused = matches!(hello, Hello::Refused { failure: TlsFailure::Protocol, .. });
                assert!(is_refused || data.len() <= HANDSHAKE_BYTES_MAX, "{length} by {size}: {hello:?}");
                assert!(end <= HANDSHAKE_BYTES_MAX + step, "{length} by {size}: {end} bytes were taken");
            }
        }
    }

    #[test]
    fn a_hello_in_seeds_is_one() {
        let seed =
            std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/tls_client_hello/curl")).unwrap();
        let Greeted::Tls(Hello::Answered { server_name, alpn }) = greet(&SERVER, &seed[1..], 7, 0).0 else {
            panic!("not answered");
        };
        assert_eq!((server_name.as_deref(), alpn.as_deref()), (Some("localhost"), Some(&b"h2"[..])));
    }
}
