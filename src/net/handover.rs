//! Gives open sockets to another process, over a Unix socket between the two (`SCM_RIGHTS`, unix(7)).
//!
//! The one who starts the other makes the pair and gives it one end as its standard input: that is the only descriptor
//! inherited, so that no other ever has to lose its close-on-exec flag, which any program started at that moment would
//! see. Works on any thread; who says what over the socket is not known here.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

/// Sockets given at a time. A mesher has three; the kernel takes 253.
pub const HANDED_OVER_MAX: usize = 16;
/// Ancillary data needs a byte to go with.
const BYTE: [u8; 1] = *b"\n";

/// Sends duplicates of these descriptors.
///
/// # Errors
/// More than [`HANDED_OVER_MAX`], or what the kernel says.
pub fn hand_over(to: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED_OVER_MAX))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    if descriptors.len() > HANDED_OVER_MAX || !rights.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::other("too many sockets to hand over"));
    }
    rustix::net::sendmsg(to, &[IoSlice::new(&BYTE)], &mut rights, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what one [`hand_over`] has sent; close-on-exec, as everything here.
///
/// # Errors
/// The other side is gone or said something else, or what the kernel says.
pub fn take_over(from: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED_OVER_MAX))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0; 1];
    let received =
        rustix::net::recvmsg(from, &mut [IoSliceMut::new(&mut byte)], &mut rights, RecvFlags::CMSG_CLOEXEC)?;
    if received.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut descriptors = Vec::new();
    for message in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(descriptors)
}

/// Takes the Unix socket that is this process's standard input; nothing (`/dev/null`) takes its place.
///
/// # Errors
/// The standard input is no Unix socket, or what the kernel says.
pub fn stdin_socket() -> io::Result<UnixStream> {
    let stdin = io::stdin();
    let socket = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
    // Fails for whatever is no Unix socket.
    socket.peer_addr()?;
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_listening_socket_that_is_handed_over_accepts_for_its_address() {
        let (here, there) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _waiting = TcpStream::connect(address).unwrap();
        hand_over(&here, &[listener.as_fd()]).unwrap();
        drop((listener, here));
        let mut taken = take_over(&there).unwrap();
        let taken = TcpListener::from(taken.pop().unwrap());
        assert_eq!(taken.local_addr().unwrap(), address);
        assert!(rustix::io::fcntl_getfd(&taken).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        // The connection was made before: it lives in the socket, not in the process.
        taken.accept().unwrap();
    }

    #[test]
    fn nothing_comes_from_a_peer_that_is_gone_or_gives_nothing() {
        let (here, there) = UnixStream::pair().unwrap();
        hand_over(&here, &[]).unwrap();
        assert!(take_over(&there).unwrap().is_empty());
        drop(here);
        assert_eq!(take_over(&there).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn too_many_are_refused() {
        let (here, _there) = UnixStream::pair().unwrap();
        let many = vec![here.as_fd(); HANDED_OVER_MAX + 1];
        assert!(hand_over(&here, &many).is_err());
    }
}
