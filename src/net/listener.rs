//! A listening socket: bound before any shard runs, adopted by the shard that accepts from it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::task::{Poll, ready};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::shard;
use super::slot::Readiness;
use super::socket::Socket;
use super::stream::Stream;

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`, 4096 by default. A shorter queue drops the
/// SYNs of a burst, which costs each of them a second.
const BACKLOG: i32 = 4096;

/// A socket that is bound to `addr` and listens, non-blocking and not inherited by child processes. `shared`: others (the other shards,
/// a successor of this process) may bind the same address, and the kernel spreads connections over all of them.
///
/// # Errors
/// What the kernel says: address in use, not permitted, not available.
pub fn bind(addr: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let fd = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // Without it a restart waits for the old connections in TIME_WAIT.
    sockopt::set_socket_reuseaddr(&fd, true)?;
    if shared {
        sockopt::set_socket_reuseport(&fd, true)?;
    }
    sockopt::set_tcp_nodelay(&fd, true)?; // accepted sockets inherit it
    rustix::net::bind(&fd, &addr)?;
    rustix::net::listen(&fd, BACKLOG)?;
    Ok(fd.into())
}

/// A connection that was accepted and belongs to no shard yet.
#[derive(Debug)]
pub struct Accepted {
    fd: OwnedFd,
    peer: SocketAddr,
}

impl Accepted {
    /// From here on it is this shard's.
    ///
    /// # Panics
    /// Outside of a shard.
    #[must_use]
    pub fn open(self) -> Stream {
        Stream::new(self.fd, self.peer, shard::reactor())
    }
}

/// A listening socket of this shard.
pub struct Listener {
    socket: Socket,
    addr: SocketAddr,
}

impl Listener {
    /// Takes a listening socket over, such as [`bind`] makes.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Panics
    /// Outside of a shard.
    pub fn adopt(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        sockopt::set_tcp_nodelay(&listener, true)?;
        let addr = listener.local_addr()?;
        Ok(Listener { socket: Socket::new(OwnedFd::from(listener), shard::reactor()), addr })
    }

    /// The next connection and where it comes from.
    ///
    /// # Errors
    /// Out of file descriptors or memory: the connection stays in the queue, so the caller should pause before it asks again.
    pub async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        let accepted = self.accepted().await?;
        let peer = accepted.peer;
        Ok((accepted.open(), peer))
    }

    /// The next connection, which any shard may serve.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub async fn accepted(&self) -> io::Result<Accepted> {
        poll_fn(|cx| {
            let slot = self.socket.slot();
            while slot.readable.get() != Readiness::Drained {
                ready!(self.socket.reactor().spend(cx));
                match rustix::net::acceptfrom_with(&self.socket, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)
                {
                    Ok((fd, peer)) => {
                        let Some(Ok(peer)) = peer.map(SocketAddr::try_from) else { continue };
                        return Poll::Ready(Ok(Accepted { fd, peer }));
                    }
                    Err(Errno::AGAIN) => slot.readable.set(Readiness::Drained),
                    Err(error) if concerns_one_connection(error) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
            self.socket.wait_readable(cx)?;
            Poll::Pending
        })
        .await
    }

    /// The address it is bound to, with the port that the kernel chose if it was 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.socket.deregister();
    }
}

/// accept(2), "Error handling": Linux hands errors of the new connection on; they are to be treated like "try again".
fn concerns_one_connection(error: Errno) -> bool {
    matches!(
        error,
        Errno::INTR
            | Errno::CONNABORTED
            | Errno::PROTO
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::NETDOWN
            | Errno::NETUNREACH
    )
}
