//! The calls that have no safe form: the probe of io_uring, handing the epoll set to glommio, asking how much a socket still holds, and
//! giving freed memory back. The only `unsafe` of this crate.

#![allow(unsafe_code)]

use std::ffi::c_int;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::io_uring::{IoringEnterFlags, IoringRegisterOp, io_uring_params};
use rustix::ioctl::{Getter, Opcode};

/// Operations asked about in one probe: the most the kernel takes.
const PROBE_OPS: usize = 256;

/// `struct io_uring_probe_op`: number, reserved, 16 bits of flags, reserved. Bytes, because the kernel may name operations that no enum
/// of ours knows.
const OP_BYTES: usize = 8;
/// `IO_URING_OP_SUPPORTED`.
const SUPPORTED: u16 = 1;

/// `SIOCOUTQ`, as most architectures number it.
#[cfg(not(any(
    target_arch = "mips",
    target_arch = "mips64",
    target_arch = "powerpc64",
    target_arch = "sparc64"
)))]
const SEND_QUEUE: Opcode = 0x5411;
#[cfg(any(target_arch = "mips", target_arch = "mips64"))]
const SEND_QUEUE: Opcode = 0x7472;
#[cfg(any(target_arch = "powerpc", target_arch = "powerpc64", target_arch = "sparc64"))]
const SEND_QUEUE: Opcode = 0x4004_7473;

/// `struct io_uring_probe` with room for its operations behind it. Only bytes, so any content is valid.
#[repr(C)]
struct Probe {
    last_op: u8,
    ops_len: u8,
    reserved: [u8; 14],
    ops: [[u8; OP_BYTES]; PROBE_OPS],
}

/// Makes a ring of `entries`. Returns it and the kernel's feature bits.
pub(super) fn ring(entries: u32) -> Result<(OwnedFd, u32), Errno> {
    let mut params = io_uring_params::default();
    // SAFETY: the kernel reads and writes `params`, which lives across the call, and nothing else: no flag in it names other memory.
    // The ring is neither mapped nor submitted to, so it can touch no memory of this process.
    let ring = unsafe { rustix::io_uring::io_uring_setup(entries, &mut params) }?;
    Ok((ring, params.features.bits()))
}

/// Whether this kernel's rings know operation number `op`, one answer an operation, in order.
pub(super) fn operations(ring: &OwnedFd) -> Result<Vec<bool>, Errno> {
    let ops = [[0; OP_BYTES]; PROBE_OPS];
    let mut probe = Probe { last_op: 0, ops_len: 0, reserved: [0; 14], ops };
    let target = std::ptr::from_mut(&mut probe).cast();
    // SAFETY: the kernel writes a header of 16 bytes and at most PROBE_OPS operations of 8 bytes to `target`; `Probe` is that layout and
    // lives across the call.
    unsafe {
        rustix::io_uring::io_uring_register(ring, IoringRegisterOp::RegisterProbe, target, PROBE_OPS as u32)
    }?;
    let supported =
        |[_, _, low, high, ..]: &[u8; OP_BYTES]| u16::from_ne_bytes([*low, *high]) & SUPPORTED != 0;
    Ok(probe.ops.iter().take(probe.ops_len.into()).map(supported).collect())
}

/// Enters a ring without anything to do.
pub(super) fn enter(ring: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: nothing is submitted and nothing waited for, so no memory is touched.
    unsafe { rustix::io_uring::io_uring_enter(ring, 0, 0, IoringEnterFlags::empty()) }?;
    Ok(())
}

/// Bytes written to a TCP socket that its peer's kernel has not acknowledged; an end that was said counts as one.
pub(super) fn unsent(socket: &impl AsFd) -> Result<usize, Errno> {
    // SAFETY: SIOCOUTQ writes one `int` to where it is told, which is what this getter has room for, and reads nothing. What is no
    // socket, and has another meaning for the number, takes an `int` too (TIOCOUTQ) or refuses it.
    let bytes = unsafe { rustix::ioctl::ioctl(socket, Getter::<SEND_QUEUE, c_int>::new()) }?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// glommio's interest in the readability of `fd`: its constructor arms a poll on the ring, and a read is ready, with an error for what is
/// no socket, once that poll completes. Must be called on a glommio executor.
pub(super) fn glommio_poll(fd: OwnedFd) -> glommio::net::TcpStream {
    // SAFETY: the descriptor is open and owned, and its ownership moves into the stream, which closes it.
    unsafe { glommio::net::TcpStream::from_raw_fd(fd.into_raw_fd()) }
}

/// Gives memory that was freed back to the system: glibc keeps it for later otherwise, a shard's even when another thread is short.
/// Other allocators give it back by themselves.
pub fn release_free_memory() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        // SAFETY: malloc_trim(3) takes a number, keeps nothing and may be called from any thread: it locks each arena, and gives back
        // pages that hold no allocation.
        unsafe { malloc_trim(0) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn the_kernels_probe_structure_has_the_layout_that_is_handed_to_it() {
        assert_eq!(size_of::<Probe>(), 16 + 8 * PROBE_OPS);
        assert_eq!(std::mem::offset_of!(Probe, ops), 16);
        assert_eq!(std::mem::offset_of!(Probe, ops_len), 1);
    }

    #[test]
    fn a_ring_answers_the_probe_and_can_be_entered() {
        // Where io_uring is refused the error comes back and nothing else happens.
        let Ok((ring, features)) = ring(4) else { return };
        assert_ne!(features, 0);
        let known = operations(&ring).unwrap();
        assert!((23..=PROBE_OPS).contains(&known.len()), "{} operations", known.len());
        assert_eq!(known.first(), Some(&true), "a no-op is always there");
        enter(&ring).unwrap();
    }

    #[test]
    fn what_is_still_allocated_survives_the_release_of_what_is_free() {
        let pieces: Vec<Vec<u8>> = (0..2000u32).map(|i| vec![i as u8; 5000]).collect();
        let kept: Vec<_> = pieces.into_iter().enumerate().filter(|(i, _)| i % 7 == 0).collect();
        release_free_memory();
        assert!(kept.iter().all(|(i, piece)| piece.iter().all(|byte| *byte == *i as u8)));
    }

    #[test]
    fn what_a_peer_has_not_taken_is_counted() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut writer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut reader, _) = listener.accept().unwrap();
        assert_eq!(unsent(&writer), Ok(0));
        writer.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(n) = writer.write(&[0; 64 * 1024]) {
            written += n;
        }
        let waiting = unsent(&writer).unwrap();
        assert!((1..=written).contains(&waiting), "{waiting} of {written}");
        reader.read_exact(&mut vec![0; written]).unwrap();
        // All was read, and the last of it is acknowledged with it or behind it.
        while unsent(&writer) != Ok(0) {
            std::thread::yield_now();
        }
        assert!(unsent(&std::fs::File::open("/proc/self/status").unwrap()).is_err());
    }

    #[test]
    fn what_is_no_ring_is_refused_by_the_kernel() {
        let file: OwnedFd = std::fs::File::open("/proc/self/status").unwrap().into();
        assert!(operations(&file).is_err());
        assert!(enter(&file).is_err());
    }
}
