//! The table of a shard's tasks. It keeps futures and polls none of them; which runs next is the run queue's business.
//!
//! All borrows of the table are short and run no foreign code: a future is taken out to be polled or dropped.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Waker;

use super::wake::{Handle, Key, Remote};

/// The tasks of one shard, by key.
#[derive(Default)]
pub(super) struct Tasks {
    entries: Vec<Entry>,
    free: Vec<u32>,
}

/// A task taken out of the table to be polled.
pub(super) struct Running {
    pub(super) future: Pin<Box<dyn Future<Output = ()>>>,
    pub(super) waker: Waker,
}

struct Entry {
    generation: u32,
    /// Set while there is a task here.
    handle: Option<Arc<Handle>>,
    /// Set while there is a task here that is not being polled.
    running: Option<Running>,
}

impl Tasks {
    pub(super) fn insert(&mut self, future: Pin<Box<dyn Future<Output = ()>>>, remote: &Arc<Remote>) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, handle: None, running: None });
            (self.entries.len() - 1) as u32
        });
        let mut key = Key { index, generation: 0 };
        if let Some(entry) = self.entries.get_mut(index as usize) {
            key.generation = entry.generation;
            let handle = Handle::queued(key, remote.clone());
            entry.running = Some(Running { future, waker: handle.clone().into() });
            entry.handle = Some(handle);
        }
        key
    }

    /// Whether the task has not ended.
    pub(super) fn contains(&self, key: Key) -> bool {
        let entry = self.entries.get(key.index as usize);
        entry.is_some_and(|entry| entry.generation == key.generation && entry.handle.is_some())
    }

    /// Takes a task out to poll it. Nothing if it has ended meanwhile.
    pub(super) fn start(&mut self, key: Key) -> Option<Running> {
        let entry = self.entry(key)?;
        entry.handle.as_ref()?.dequeue();
        entry.running.take()
    }

    /// Puts a task back that waits.
    pub(super) fn park(&mut self, key: Key, running: Running) {
        if let Some(entry) = self.entry(key) {
            entry.running = Some(running);
        }
    }

    /// The task has ended: its key and its wakers mean nothing any more.
    pub(super) fn remove(&mut self, key: Key) {
        if let Some(entry) = self.entry(key) {
            entry.generation = entry.generation.wrapping_add(1);
            entry.handle = None;
            self.free.push(key.index);
        }
    }

    /// Takes all tasks out for good.
    pub(super) fn take_all(&mut self) -> Vec<Running> {
        let mut all = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if let Some(running) = entry.running.take() {
                entry.generation = entry.generation.wrapping_add(1);
                entry.handle = None;
                self.free.push(index as u32);
                all.push(running);
            }
        }
        all
    }

    fn entry(&mut self, key: Key) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(key.index as usize)?;
        (entry.generation == key.generation).then_some(entry)
    }
}
