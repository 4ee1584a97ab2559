//! Objects to be used again: the steady state allocates nothing.

use std::cell::RefCell;

/// Objects of one kind kept by a shard for the next request.
#[derive(Debug)]
pub struct Recycle<T> {
    kept: RefCell<Vec<T>>,
    max: usize,
}

impl<T> Recycle<T> {
    /// Keeps at most `max`.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { kept: RefCell::default(), max }
    }

    /// One that was kept, or a new one.
    pub fn take(&self, new: impl FnOnce() -> T) -> T {
        self.kept.borrow_mut().pop().unwrap_or_else(new)
    }

    /// Drops all that are kept.
    pub fn clear(&self) {
        // Not only emptied: what held them is let go, too.
        drop(self.kept.take());
    }

    /// Keeps it, or drops it if there are enough.
    pub fn put(&self, object: T) {
        let mut kept = self.kept.borrow_mut();
        if kept.len() < self.max {
            kept.push(object);
        }
    }
}
