//! Which endpoints a request has been to.

/// Attempts a request may take in all. Three instances in a row that refuse a connection mean that the service is
/// down or the registry far behind; more attempts would only multiply the load.
pub const ATTEMPTS_MAX: usize = 3;

/// Indices of the endpoints a request was tried at, in order.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tried {
    at: [u32; ATTEMPTS_MAX],
    len: u8,
}

impl Tried {
    /// Notes an attempt. What exceeds [`ATTEMPTS_MAX`] is not noted: [`Tried::is_full`] said so before.
    pub fn add(&mut self, index: usize) {
        if let Some(slot) = self.at.get_mut(usize::from(self.len)) {
            *slot = u32::try_from(index).unwrap_or(u32::MAX);
            self.len += 1;
        }
    }

    /// Attempts so far.
    #[must_use]
    pub fn count(&self) -> usize {
        usize::from(self.len)
    }

    /// No further attempt is allowed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.count() == ATTEMPTS_MAX
    }

    /// Was this endpoint tried?
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        self.at.iter().take(self.count()).any(|at| *at as usize == index)
    }

    /// The last endpoint tried.
    #[must_use]
    pub fn last(&self) -> Option<usize> {
        let last = self.count().checked_sub(1)?;
        self.at.get(last).map(|at| *at as usize)
    }
}
