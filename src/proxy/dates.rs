//! The time of day for `Date` fields, written once a second.

use std::cell::{Cell, RefCell};
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderValue;

use crate::codec::{DateText, imf_fixdate};

/// The last second that was asked for, and its text. Asking reads the clock, and writes only in a new second.
#[derive(Debug)]
pub struct Dates {
    second: Cell<u64>,
    text: Cell<DateText>,
    /// The same for HTTP/2; empty until somebody asks.
    value: RefCell<Option<HeaderValue>>,
}

impl Default for Dates {
    fn default() -> Self {
        Self { second: Cell::new(0), text: Cell::new(imf_fixdate(0)), value: RefCell::default() }
    }
}

impl Dates {
    /// Now, as a `Date` field has it.
    #[must_use]
    pub fn now(&self) -> DateText {
        let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.second.replace(second) != second {
            self.text.set(imf_fixdate(second));
            self.value.replace(None);
        }
        self.text.get()
    }

    /// Now, as the value of a field.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        let text = self.now();
        let mut value = self.value.borrow_mut();
        let made = || HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.get_or_insert_with(made).clone()
    }
}
