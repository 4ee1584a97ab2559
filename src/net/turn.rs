//! Turns of connections that a library reads. It reads on while bytes are there, and hands what it makes of them to tasks that
//! do not run before it stops: without turns it would pile up for them all that the sockets hold.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Bytes of a turn: some microseconds of work, and a multiple of what is there at a time under common load.
const TURN_BYTES: usize = 64 * 1024;

/// What a connection has read in this turn.
#[derive(Debug, Default)]
pub struct Turn {
    read: Cell<usize>,
    is_over: Cell<bool>,
}

impl Turn {
    /// To be asked before each read. Pending once after 64 KiB, and the task is queued again, behind those that wait.
    pub fn poll_go_on(&self, cx: &Context<'_>) -> Poll<()> {
        if self.read.get() < TURN_BYTES {
            self.is_over.set(false);
            return Poll::Ready(());
        }
        self.read.set(0);
        self.is_over.set(true);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The pause has come, and nothing was asked since: who looks at a connection several times in a row has to stop.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// So many bytes were read.
    pub fn note_read(&self, bytes: usize) {
        self.read.set(self.read.get().saturating_add(bytes));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn after_each_turn_others_are_let_run_once() {
        let (turn, wakes) = (Turn::default(), Arc::<Wakes>::default());
        let waker = Waker::from(wakes.clone());
        let cx = Context::from_waker(&waker);
        let mut pauses = 0;
        for _ in 0..100 {
            let paused = turn.poll_go_on(&cx).is_pending();
            assert_eq!(turn.is_over(), paused);
            pauses += usize::from(paused);
            assert!(turn.poll_go_on(&cx).is_ready() && !turn.is_over());
            turn.note_read(TURN_BYTES / 4);
        }
        assert_eq!((pauses, wakes.0.load(Ordering::Relaxed)), (24, 24));
    }
}
