//! Large read buffers, one of a kind a shard, so that an idle connection owns none.

use std::cell::RefCell;
use std::thread::LocalKey;

/// Size of a scratch buffer. A read into it takes whatever a connection's receive window usually holds.
pub const SCRATCH_BYTES: usize = 64 * 1024;

type Scratch = RefCell<Vec<u8>>;

thread_local! {
    static SCRATCH: Scratch = const { RefCell::new(Vec::new()) };
    static WIRE: Scratch = const { RefCell::new(Vec::new()) };
}

/// Lends the shard's scratch buffer to `f`. Its content is whatever the last user left. Nothing may be kept in it between two polls.
///
/// A call within `f` is an error of the caller: it panics in debug builds and gets a buffer of its own otherwise.
pub fn with_scratch<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    lend(&SCRATCH, f)
}

/// As [`with_scratch`], another one: TLS receives into it while its caller has lent the first for the plaintext.
pub(super) fn with_wire_scratch<R>(f: impl FnOnce(&mut [u8]) -> R) -> R {
    lend(&WIRE, f)
}

fn lend<R>(scratch: &'static LocalKey<Scratch>, f: impl FnOnce(&mut [u8]) -> R) -> R {
    scratch.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut buffer) => {
            if buffer.is_empty() {
                buffer.resize(SCRATCH_BYTES, 0);
            }
            f(&mut buffer)
        }
        Err(_) => {
            debug_assert!(false, "the scratch buffer is in use already");
            f(&mut vec![0; SCRATCH_BYTES])
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn the_buffer_is_lent_again_after_its_user_panicked() {
        let panicked = std::panic::catch_unwind(|| with_scratch(|_| panic!("in the middle")));
        assert!(panicked.is_err());
        with_scratch(|buffer| assert_eq!(buffer.len(), SCRATCH_BYTES));
    }

    #[test]
    #[cfg(debug_assertions)]
    #[should_panic(expected = "in use already")]
    fn a_second_user_at_the_same_time_is_a_bug() {
        with_scratch(|_| with_scratch(|b| b[0]));
    }
}
