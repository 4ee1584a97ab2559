//! Attacks on handshakes and records: what they come to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use super::super::support::conf::Conf;
use super::super::support::mesh::on_both_drivers;
use super::super::support::origin::Origin;
use super::super::support::tls::{Authority, Secured, trusting};
use super::super::support::wait::{PATIENCE, wait_until};
use super::{LISTENER, handshakes, start};

#[test]
fn attacks_on_the_handshake_and_the_records_end_their_own_connection_only() {
    on_both_drivers(|driver| {
        let (authority, origin) = (Authority::new(), Origin::answering("ok"));
        let conf = Conf::provider(driver, origin.address())
            .presents(LISTENER, &authority.issue("provider"))
            .set("mesher.yaml", "mesher.timeout.headerSeconds", 3);
        let mesher = start(conf, origin.address());
        let (to, config) = (mesher.conf().incoming, Arc::new(trusting(&authority.pem, None)));
        let mut good = Secured::connect(to, "provider", &config).unwrap();
        // Half-open, and one that sends a byte now and then.
        let mut half_open: Vec<_> = (0..100).map(|_| TcpStream::connect(to).unwrap()).collect();
        for stream in &mut half_open {
            stream.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
        }
        wait_until("all of them", PATIENCE, || {
            // On a busy machine the first have timed out before the last are there.
            let in_flight = mesher.metric("mesher_tls_handshakes_in_flight");
            in_flight + handshakes(&mesher, "downstream", "timeout") >= 100
        });
        assert_eq!(good.get("a").unwrap(), 200);
        // Records that nobody encrypted, after a good handshake; an absurd length; a hello that is none.
        let mut tampering = Secured::connect(to, "provider", &config).unwrap();
        assert_eq!(tampering.get("a").unwrap(), 200);
        tampering.stream.sock.write_all(b"\x17\x03\x03\x00\x20and this is what nobody encrypted.").unwrap();
        let told = tampering.stream.read(&mut [0; 8]).unwrap_err().to_string();
        assert!(told.contains("BadRecordMac"), "{told}");
        for garbage in [&b"\x16\x03\x01\xff\xff\x01"[..], b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03"] {
            let mut stream = TcpStream::connect(to).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(garbage).unwrap();
            let mut alert = Vec::new();
            stream.read_to_end(&mut alert).unwrap();
            assert_eq!(alert.first(), Some(&0x15), "{alert:x?}");
        }
        wait_until("their time-out", PATIENCE, || handshakes(&mesher, "downstream", "timeout") == 100);
        for stream in &mut half_open {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0, "it was closed");
        }
        mesher.wait_for_metric("mesher_tls_handshakes_in_flight", 0);
        assert_eq!(good.get("a").unwrap(), 200);
    });
}
