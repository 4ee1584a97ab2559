//! Free addresses on loopback.
//!
//! A process that is told its port cannot be handed an open socket, so a port is probed, closed and given out.
//! Three things keep it free until it is used: it lies below the range the kernel takes client ports from, no port
//! is given out twice by this process, and each process starts looking at another place.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// First port given out; below lie the ports of services that may run on the machine.
const PORT_MIN: u32 = 15_000;
/// Ports given out; the end lies below 32768, where Linux starts taking client ports.
const PORTS: u32 = 17_000;

static NEXT_PORT: AtomicU32 = AtomicU32::new(0);
static NEXT_HOST: AtomicU32 = AtomicU32::new(0);

/// A loopback address that no other test of this process uses, `127.x.y.z`, never 127.0.0.1.
pub(crate) fn free_host() -> Ipv4Addr {
    let host = NEXT_HOST.fetch_add(1, Ordering::Relaxed) + 2;
    let [_, _, third, fourth] = host.to_be_bytes();
    let second = u8::try_from(std::process::id() % 200 + 20).unwrap();
    Ipv4Addr::new(127, second, third, fourth)
}

/// A TCP port that is free on every local address.
pub(crate) fn free_port() -> u16 {
    let start = std::process::id().wrapping_mul(389);
    for _ in 0..PORTS {
        let step = NEXT_PORT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(PORT_MIN + start.wrapping_add(step) % PORTS).unwrap();
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port among {PORTS}");
}

/// A free address on 127.0.0.1.
pub(crate) fn free_address() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), free_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_and_no_host_is_given_out_twice() {
        let ports: Vec<u16> = (0..20).map(|_| free_port()).collect();
        let hosts: Vec<Ipv4Addr> = (0..20).map(|_| free_host()).collect();
        let mut distinct = ports.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), ports.len());
        assert!(hosts.iter().enumerate().all(|(at, host)| host.is_loopback() && !hosts[..at].contains(host)));
    }

    #[test]
    fn a_free_host_can_be_bound() {
        TcpListener::bind((free_host(), 0)).unwrap();
    }
}
