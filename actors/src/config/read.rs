//! Typed reads of the configuration. A wrong value adds an error to the report and reads as the default, so that
//! one run shows all that is wrong.
//!
//! Each default is written twice, by the reader and in the table of keys, since `mesher config` shows the latter;
//! debug builds insist that the two agree.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::keys;
use super::layers::Config;
use super::report::{Code, Report};
use super::value::{self, Entry, Unit, unexpected};

impl Config {
    /// The text of a scalar; `None` if it is absent, empty or not a scalar.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<String> {
        self.raw(key).and_then(Entry::text).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    /// Words of a comma list or a YAML list; empty if it is absent.
    #[must_use]
    pub fn list(&self, key: &str) -> Vec<String> {
        self.raw(key).map(Entry::words).unwrap_or_default()
    }

    /// Elements of a YAML list, maps mostly, each with its place.
    #[must_use]
    pub fn items(&self, key: &str) -> Vec<Entry> {
        self.raw(key).map(Entry::items).unwrap_or_default()
    }

    /// True or false.
    pub fn boolean(&self, key: &str, default: bool, report: &mut Report) -> bool {
        agree(key, default, value::boolean);
        self.read(key, report, Entry::boolean).unwrap_or(default)
    }

    /// A whole number.
    pub fn integer(&self, key: &str, range: RangeInclusive<u64>, default: u64, report: &mut Report) -> u64 {
        agree(key, default, |text| text.parse().ok());
        self.read(key, report, |entry| entry.integer(&range)).unwrap_or(default)
    }

    /// A duration; `unit` is that of a bare number.
    pub fn duration(&self, key: &str, unit: Unit, default: Duration, report: &mut Report) -> Duration {
        agree(key, default, |text| value::duration(text, unit));
        self.read(key, report, |entry| entry.duration(unit)).unwrap_or(default)
    }

    /// `ip:port`; `None` if it is absent or wrong.
    pub fn socket(&self, key: &str, report: &mut Report) -> Option<SocketAddr> {
        self.read(key, report, Entry::socket)
    }

    /// An IP address; `None` if it is absent or wrong.
    pub fn ip(&self, key: &str, report: &mut Report) -> Option<IpAddr> {
        self.read(key, report, Entry::ip)
    }

    fn read<T>(
        &self,
        key: &str,
        report: &mut Report,
        parse: impl FnOnce(&Entry) -> Result<T, String>,
    ) -> Option<T> {
        let entry = self.raw(key).filter(|entry| entry.text() != Some(""))?;
        parse(entry).map_err(|why| wrong_value(key, entry, &why, report)).ok()
    }
}

impl Entry {
    /// `ip:port`.
    ///
    /// # Errors
    /// What was expected and what stands there.
    pub fn socket(&self) -> Result<SocketAddr, String> {
        let wanted = "an ip address and a port like 127.0.0.1:30101";
        let text = self.scalar(wanted)?;
        text.parse().map_err(|_| unexpected(wanted, text))
    }

    /// An IP address.
    ///
    /// # Errors
    /// What was expected and what stands there.
    pub fn ip(&self) -> Result<IpAddr, String> {
        let wanted = "an ip address like 127.0.0.1";
        let text = self.scalar(wanted)?;
        text.parse().map_err(|_| unexpected(wanted, text))
    }
}

/// The one wording for wrong values, so that a value found wrong by the check and by its reader is one problem.
pub(super) fn wrong_value(key: &str, entry: &Entry, why: &str, report: &mut Report) {
    report.error(Code::WRONG_VALUE, &entry.origin, format!("`{key}`: {why}"));
}

fn agree<T: PartialEq + std::fmt::Debug>(key: &str, default: T, parse: impl FnOnce(&str) -> Option<T>) {
    if cfg!(debug_assertions) {
        let row = keys::find(key).filter(|known| known.pattern == key && !known.default.is_empty());
        let known = row.and_then(|known| parse(known.default));
        assert!(
            known.as_ref().is_none_or(|known| *known == default),
            "`{key}` is read with the default {default:?} and shown with {known:?}"
        );
    }
}
