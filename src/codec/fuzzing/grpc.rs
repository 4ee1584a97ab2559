//! Properties of what gRPC adds to HTTP/2. Each function panics if its property does not hold.

use std::time::Duration;

use super::super::grpc::{TimeoutText, parse_timeout};

/// Arbitrary bytes as a `grpc-timeout`. A second reading agrees; what was read is written as the very same duration, and
/// what has become shorter is never written as something longer.
pub fn fuzz_grpc_timeout(data: &[u8]) {
    let read = parse_timeout(data);
    assert_eq!(read.ok(), naively(data), "read in two ways");
    let Ok(timeout) = read else { return };
    assert_eq!(again(timeout), timeout, "changed on the way");
    let spent = timeout.saturating_sub(Duration::from_nanos(1_234_567));
    assert!(again(spent) <= spent, "became longer on the way");
}

/// What a timeout is after it was written and read.
fn again(timeout: Duration) -> Duration {
    parse_timeout(TimeoutText::new(timeout).as_bytes()).expect("what is written can be read")
}

fn naively(data: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(data).ok()?;
    let number = text.strip_suffix(['H', 'M', 'S', 'm', 'u', 'n'])?;
    let is_number = (1..=8).contains(&number.len()) && number.chars().all(|c| c.is_ascii_digit());
    let number: u64 = if is_number { number.parse().ok()? } else { return None };
    Some(match text.chars().last()? {
        'H' => Duration::from_secs(number * 3600),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        _ => Duration::from_nanos(number),
    })
}
