//! A service that keeps to no rule, unless it wants to: what it says on each connection is up to a script.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::attacker::Attacker;

/// The service. Dropping it closes the listener; connections end with their scripts.
pub(crate) struct Rogue {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Rogue {
    /// Starts on 127.0.0.1. The script gets each connection and its number, from 0.
    pub(crate) fn start(script: impl Fn(Attacker, usize) + Send + Sync + 'static) -> Self {
        Self::serve(move |socket, number| script(Attacker::accepted(socket), number))
    }

    /// The same, and it never reads.
    pub(crate) fn stalled(script: impl Fn(Attacker) + Send + Sync + 'static) -> Self {
        Self::serve(move |socket, _| script(Attacker::deaf(socket)))
    }

    /// The same, and the script reads, too.
    pub(crate) fn serve(script: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("no free port");
        let address = listener.local_addr().expect("an address");
        let (connections, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (counted, over, script) = (connections.clone(), is_over.clone(), Arc::new(script));
        std::thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (number, script) = (counted.fetch_add(1, Ordering::SeqCst), script.clone());
                std::thread::spawn(move || script(socket, number));
            }
        });
        Self { address, connections, is_over }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that came so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Rogue {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}
