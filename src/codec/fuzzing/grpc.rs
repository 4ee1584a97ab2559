//! Properties of what gRPC adds to HTTP/2. Each function panics if its property does not hold.

use std::time::Duration;

use super::super::field::judge_field;
use super::super::grpc::{MESSAGE_BYTES_MAX, Messages, TimeoutText, is_grpc, message, parse_timeout};

/// Most bytes of a character once it is percent-encoded.
const CHARACTER_BYTES_MAX: usize = 12;

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

/// Arbitrary bytes as the reason of a failure, and as a `content-type`. The value of `grpc-message` is one that a field
/// may have, no longer than the bound; read as clients read it, it is the reason, cut only where it has to be. A second
/// reading agrees on what is a call.
pub fn fuzz_grpc_message(data: &[u8]) {
    let reason = String::from_utf8_lossy(data);
    let sent = message(&reason);
    assert_eq!(judge_field(b"grpc-message", sent.as_bytes()), Ok(()), "{sent:?}");
    assert!(sent.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{sent:?}");
    assert!(sent.len() <= MESSAGE_BYTES_MAX, "{} bytes", sent.len());
    let read = percent_decoded(&sent);
    assert!(reason.starts_with(&read), "{read:?} of {reason:?}");
    assert!(read == reason || sent.len() + CHARACTER_BYTES_MAX > MESSAGE_BYTES_MAX, "cut without need");
    assert_eq!(is_grpc(data), is_naively_grpc(data), "read in two ways");
}

/// Arbitrary bytes as a stream of messages, cut by the first eight of them. Wherever a piece ends, a second reading of all
/// bytes so far agrees on whether a message is under way.
pub fn fuzz_grpc_frames(data: &[u8]) {
    let (cuts, stream) = data.split_at(data.len().min(8));
    let mut cuts = cuts.iter().cycle();
    let (mut messages, mut end) = (Messages::default(), 0);
    assert!(messages.is_between(), "a message is under way before the first byte");
    while end < stream.len() {
        let next = stream.len().min(end + 1 + usize::from(*cuts.next().unwrap_or(&0)));
        messages.follow(&stream[end..next]);
        end = next;
        assert_eq!(messages.is_between(), is_naively_between(&stream[..end]), "after {end} bytes");
    }
}

fn is_naively_between(mut stream: &[u8]) -> bool {
    while let Some(([_, length @ ..], rest)) = stream.split_first_chunk::<5>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some(behind) = rest.get(length..) else { return false };
        stream = behind;
    }
    stream.is_empty()
}

fn percent_decoded(message: &str) -> String {
    let mut parts = message.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).expect("whole characters")
}

fn is_naively_grpc(content_type: &[u8]) -> bool {
    let end = content_type.iter().position(|byte| b"+; \t".contains(byte));
    content_type[..end.unwrap_or(content_type.len())].eq_ignore_ascii_case(b"application/grpc")
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
