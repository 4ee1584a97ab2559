//! What a call of gRPC asks of its proxy: its deadline, and its outcome in the trailers. Pure; the grammar is the codec's.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::codec::grpc::{self, TimeoutText};

/// How long the client waits.
pub(super) static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// The outcome.
pub(super) static STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// The outcome in words.
pub(super) static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// Longest deadline that is kept: what is longer is as good as none.
const DEADLINE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// From here on what is left of a deadline is told in whole milliseconds, rounded down: the same few values again and again, which
/// HPACK sends as one byte, where each to the microsecond would push another field out of its table.
const FINE_MAX: Duration = Duration::from_secs(1);

/// Whether a request with these fields is a call.
pub(super) fn is_call(fields: &HeaderMap) -> bool {
    fields.get(header::CONTENT_TYPE).is_some_and(|value| grpc::is_grpc(value.as_bytes()))
}

/// The outcome of a call, where these fields tell it.
pub(super) fn status(fields: &HeaderMap) -> Option<u8> {
    let digits = fields.get(&STATUS)?.as_bytes();
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// When the client gives up. A value that cannot be read sets no deadline: it is left to the server.
pub(super) fn deadline(fields: &HeaderMap, begun: Instant) -> Option<Instant> {
    let timeout = grpc::parse_timeout(fields.get(&TIMEOUT)?.as_bytes()).ok()?;
    begun.checked_add(timeout.min(DEADLINE_MAX))
}

/// Tells the next hop how much of the time is left.
pub(super) fn pass_on(fields: &mut HeaderMap, left: Duration) {
    let below_ms = Duration::from_nanos(u64::from(left.subsec_nanos() % 1_000_000));
    let left = if left < FINE_MAX { left } else { left.saturating_sub(below_ms) };
    if let Ok(value) = HeaderValue::from_bytes(TimeoutText::new(left).as_bytes()) {
        fields.insert(&TIMEOUT, value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fields(name: &HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.clone(), HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn the_next_hop_is_told_what_is_left() {
        let begun = Instant::now();
        let mut call = fields(&TIMEOUT, "2S");
        let until = deadline(&call, begun).unwrap();
        assert_eq!(until, begun + Duration::from_secs(2));
        pass_on(&mut call, Duration::from_millis(1500));
        assert_eq!(deadline(&call, begun), Some(begun + Duration::from_millis(1500)));
    }

    #[test]
    fn a_long_deadline_is_told_in_whole_milliseconds_and_a_short_one_as_it_is() {
        let told = |left| {
            let mut call = HeaderMap::new();
            pass_on(&mut call, left);
            call[&TIMEOUT].to_str().unwrap().to_owned()
        };
        assert_eq!(told(Duration::from_nanos(4_999_999_999)), told(Duration::from_millis(4_999)));
        assert_eq!(told(Duration::from_micros(999_999)), "999999u");
    }

    #[test]
    fn a_timeout_that_cannot_be_read_is_none() {
        assert_eq!(deadline(&fields(&TIMEOUT, "soon"), Instant::now()), None);
        assert_eq!(deadline(&HeaderMap::new(), Instant::now()), None);
    }

    #[test]
    fn the_outcome_is_a_number() {
        assert_eq!(status(&fields(&STATUS, "14")), Some(14));
        assert_eq!(status(&fields(&STATUS, "none")), None);
    }
}
