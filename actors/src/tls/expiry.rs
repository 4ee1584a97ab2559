//! When certificates end to be valid, and how loudly to say so. Pure: time is an argument.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use serde::Serialize;
use tracing::{error, warn};

use super::facts;

/// So long before its end a certificate is warned of: time to notice and act for those who renew by hand. Those who
/// renew by machine do it at two thirds of a life of 90 days, which is 30 days before, and are never warned.
const WARNED_BEFORE_S: i64 = 30 * 86_400;

/// The end of a file's certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Expiry {
    /// The file.
    pub file: PathBuf,
    /// The last second in which it is of use, since 1970.
    pub not_after_s: i64,
}

/// How near the end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nearness {
    Far,
    Near,
    Past,
}

impl Expiry {
    /// A chain is of use until its first certificate ends.
    pub(super) fn first(file: &Path, chain: &[CertificateDer<'_>]) -> Self {
        Self { file: file.to_owned(), not_after_s: ends(chain).min().unwrap_or_default() }
    }

    /// Certificates to trust are of use until the last one ends: a bundle always has some that have ended.
    pub(super) fn last(file: &Path, certificates: &[CertificateDer<'_>]) -> Self {
        Self { file: file.to_owned(), not_after_s: ends(certificates).max().unwrap_or_default() }
    }

    /// How near the end is, at a second since 1970.
    pub(super) const fn nearness(&self, now_s: i64) -> Nearness {
        match self.not_after_s.saturating_sub(now_s) {
            i64::MIN..0 => Nearness::Past,
            left if left < WARNED_BEFORE_S => Nearness::Near,
            _ => Nearness::Far,
        }
    }

    /// Says so in the log if the end is near.
    pub(super) fn tell(&self, now_s: i64) {
        let file = self.file.display();
        let days = self.not_after_s.saturating_sub(now_s) / 86_400;
        match self.nearness(now_s) {
            Nearness::Far => {}
            Nearness::Near => warn!(%file, days, "a certificate ends soon; renew the file"),
            Nearness::Past => error!(%file, "a certificate has ended, and peers refuse it; renew the file"),
        }
    }
}

fn ends(certificates: &[CertificateDer<'_>]) -> impl Iterator<Item = i64> {
    certificates.iter().filter_map(facts::validity).map(|validity| validity.until_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_near_from_thirty_days_before() {
        let expiry = Expiry { file: "a.pem".into(), not_after_s: 10_000_000 };
        let nearness = |before_s: i64| expiry.nearness(10_000_000 - before_s);
        assert_eq!(nearness(WARNED_BEFORE_S), Nearness::Far);
        assert_eq!(nearness(WARNED_BEFORE_S - 1), Nearness::Near);
        assert_eq!(nearness(0), Nearness::Near, "the last second counts");
        assert_eq!(nearness(-1), Nearness::Past);
        assert_eq!(Expiry { not_after_s: i64::MIN, ..expiry }.nearness(1), Nearness::Past);
    }
}
