//! Free addresses on loopback.
//!
//! A process that is told its port cannot be handed an open socket, so a port is probed, closed and given out.
//! Three things keep it free until it is used: it lies below the range the kernel takes client ports from, no port
//! is given out twice by this process, and no other test process is given ports of the same block.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// First port given out; below lie the ports of services that may run on the machine.
const PORT_MIN: u16 = 15_000;
/// Ports that one lock stands for: some tests' worth, so that a process holds a handful of locks.
const BLOCK_PORTS: u16 = 200;
/// Blocks; the last ends below 32768, where Linux starts taking client ports.
const BLOCKS: u16 = 85;

static OURS: Mutex<Ports> = Mutex::new(Ports { left: 0..0, locks: Vec::new() });
static NEXT_HOST: AtomicU32 = AtomicU32::new(0);

/// The ports of this process.
struct Ports {
    left: Range<u16>,
    /// One for each block that we have had. The names are gone with the process, however it ends, and are as local to a
    /// network namespace as ports are.
    locks: Vec<UnixListener>,
}

impl Ports {
    fn take_block(&mut self) {
        let start = std::process::id();
        for step in 0..u32::from(BLOCKS) {
            let block = u16::try_from(start.wrapping_add(step) % u32::from(BLOCKS)).unwrap();
            let name = UnixAddress::from_abstract_name(format!("mesher-test-ports-{block}")).unwrap();
            if let Ok(lock) = UnixListener::bind_addr(&name) {
                self.locks.push(lock);
                let first = PORT_MIN + block * BLOCK_PORTS;
                self.left = first..first + BLOCK_PORTS;
                return;
            }
        }
        panic!("all {BLOCKS} blocks of ports are in use");
    }
}

/// A loopback address that no other test of this process uses, `127.x.y.z`, never 127.0.0.1.
pub(crate) fn free_host() -> Ipv4Addr {
    let host = NEXT_HOST.fetch_add(1, Ordering::Relaxed) + 2;
    let [_, _, third, fourth] = host.to_be_bytes();
    let second = u8::try_from(std::process::id() % 200 + 20).unwrap();
    Ipv4Addr::new(127, second, third, fourth)
}

/// A TCP port that is free on every local address.
pub(crate) fn free_port() -> u16 {
    let mut ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
        if let Some(port) = ours.left.find(is_free) {
            return port;
        }
        ours.take_block();
    }
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
    fn a_block_of_ports_has_one_owner() {
        let [mut one, mut other] = [(); 2].map(|()| Ports { left: 0..0, locks: Vec::new() });
        one.take_block();
        other.take_block();
        assert!(one.left.end <= other.left.start || other.left.end <= one.left.start);
    }

    #[test]
    fn a_free_host_can_be_bound() {
        TcpListener::bind((free_host(), 0)).unwrap();
    }
}
