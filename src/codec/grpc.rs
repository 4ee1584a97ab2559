//! What gRPC adds to HTTP/2 that a proxy has to understand ("gRPC over HTTP/2", `PROTOCOL-HTTP2.md` of the gRPC project).
//!
//! A call is an HTTP/2 POST whose outcome is the trailer `grpc-status`, not the HTTP status. Three fields concern a
//! proxy: `content-type` says that it is a call, `grpc-timeout` how long the client waits, and `grpc-message` why a call
//! failed that the proxy answers itself. Messages pass as they are: only their lengths are followed, to know whether one is
//! under way. The status of each failure of mesher's own stands with the failure, beside its HTTP status.

use std::borrow::Cow;
use std::io::Write;
use std::time::Duration;

/// Most bytes of an encoded `grpc-message`. Clients refuse metadata beyond their limit, which is 8 KiB with some, and
/// report that instead of the status: the reason leaves room for everything else.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// Digits that a `TimeoutValue` may have.
const TIMEOUT_DIGITS_MAX: usize = 8;
/// Largest `TimeoutValue`: what so many digits can say.
const TIMEOUT_VALUE_MAX: u128 = 99_999_999;
/// A `TimeoutUnit` in letters and nanoseconds, finest first.
const TIMEOUT_UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60_000_000_000),
    (b'H', 3_600_000_000_000),
];

/// Whether a `content-type` says that this is a gRPC call or an answer to one ("Requests", `Content-Type`):
/// `application/grpc`, alone or with a message format behind `+`, maybe with parameters. `application/grpc-web` is
/// another protocol.
#[must_use]
pub fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    // Media types have no case (RFC 9110 section 8.3.1).
    content_type.split_at_checked(GRPC.len()).is_some_and(|(media_type, rest)| {
        media_type.eq_ignore_ascii_case(GRPC)
            && matches!(rest.first(), None | Some(b'+' | b';' | b' ' | b'\t'))
    })
}

/// Reads a `grpc-timeout` ("Requests", `Timeout`): one to eight digits and a unit. The error says in words what is
/// wrong.
///
/// Servers differ about one that cannot be read: C-core, Go and Node fail the call with INTERNAL, tonic runs it without
/// a deadline. A proxy that sends it on as it came, and sets no deadline of its own, leaves that to the server.
///
/// Zero is read, as all servers do: the deadline has passed.
pub fn parse_timeout(value: &[u8]) -> Result<Duration, &'static str> {
    let (letter, digits) = value.split_last().ok_or("empty timeout")?;
    let unit = TIMEOUT_UNITS.iter().find(|(unit, _)| unit == letter);
    let (_, unit_ns) = unit.ok_or("timeout does not end in a unit, one of H M S m u n")?;
    if digits.is_empty() {
        return Err("timeout without a number");
    }
    if digits.len() > TIMEOUT_DIGITS_MAX {
        return Err("timeout of more than eight digits");
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err("timeout that is no whole number and a unit");
    }
    // Eight digits, and then 10^8 hours: neither overflows.
    let number = digits.iter().fold(0_u32, |n, &d| n.wrapping_mul(10).wrapping_add(u32::from(d & 15)));
    Ok(Duration::from_nanos(*unit_ns).saturating_mul(number))
}

/// A `grpc-timeout` as it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeoutText {
    bytes: [u8; TIMEOUT_DIGITS_MAX + 1],
    length: usize,
}

impl TimeoutText {
    /// In the finest unit that eight digits allow, rounded down: what is sent is never longer than `timeout`, and what
    /// [`parse_timeout`] has read is sent as just that long. The longest that can be said is 99 999 999 hours.
    ///
    /// Nothing left is `0n`, which is no positive number as the grammar asks: there is no need to call then.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        let (mut number, mut letter) = (TIMEOUT_VALUE_MAX, b'H');
        for (unit, unit_ns) in TIMEOUT_UNITS {
            let units = timeout.as_nanos().checked_div(u128::from(unit_ns)).unwrap_or(number);
            if units <= TIMEOUT_VALUE_MAX {
                (number, letter) = (units, unit);
                break;
            }
        }
        let mut bytes = [0; TIMEOUT_DIGITS_MAX + 1];
        let mut left = bytes.as_mut_slice();
        // Eight digits and a letter: nothing is cut off.
        let _ = write!(left, "{number}{}", char::from(letter));
        let left = left.len();
        Self { bytes, length: bytes.len().saturating_sub(left) }
    }

    /// The value of the field.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// A reason as the value of `grpc-message` ("Responses", `Status-Message`): UTF-8, of which everything but visible ASCII
/// and space is percent-encoded, the percent sign too, and a space at either end, where no field may have one (RFC 9113
/// section 8.2.1). Cut to [`MESSAGE_BYTES_MAX`], between two characters.
#[must_use]
pub fn message(reason: &str) -> Cow<'_, str> {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'%';
    let has_bare_ends = !reason.starts_with(' ') && !reason.ends_with(' ');
    if reason.len() <= MESSAGE_BYTES_MAX && has_bare_ends && reason.as_bytes().iter().all(is_plain) {
        return Cow::Borrowed(reason);
    }
    let mut message = String::with_capacity(MESSAGE_BYTES_MAX);
    for character in reason.chars() {
        let end = message.len();
        for byte in character.encode_utf8(&mut [0; 4]).bytes() {
            if is_plain(&byte) && (byte != b' ' || end > 0) {
                message.push(char::from(byte));
            } else {
                message.push('%');
                message.extend([byte >> 4, byte & 15].map(hex_digit));
            }
        }
        if message.len() > MESSAGE_BYTES_MAX {
            message.truncate(end);
            break;
        }
    }
    encode_last_space(&mut message);
    Cow::Owned(message)
}

/// Spaces before the last are given up as far as the encoded one needs their room.
fn encode_last_space(message: &mut String) {
    const SPACE: &str = "%20";
    while message.ends_with(' ') {
        message.pop();
        if message.len().saturating_add(SPACE.len()) <= MESSAGE_BYTES_MAX {
            message.push_str(SPACE);
        }
    }
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// Where in a stream of messages ("Length-Prefixed-Message") the bytes so far end. Reads no message.
#[derive(Debug, Default)]
pub struct Messages {
    /// The prefix of a message, as far as it has come.
    prefix: [u8; PREFIX_BYTES],
    have: usize,
    /// Of the present message, what is still to come.
    left: usize,
}

impl Messages {
    /// Goes on with the bytes that came next.
    pub fn follow(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = if self.left > 0 { self.message(rest) } else { self.prefix(rest) };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// No message has begun whose end has not come.
    #[must_use]
    pub fn is_between(&self) -> bool {
        self.have == 0 && self.left == 0
    }

    fn message(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.left);
        self.left = self.left.saturating_sub(taken);
        taken
    }

    fn prefix(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(PREFIX_BYTES.saturating_sub(self.have));
        for (to, from) in self.prefix.iter_mut().skip(self.have).zip(bytes.iter().take(taken)) {
            *to = *from;
        }
        self.have = self.have.saturating_add(taken);
        if self.have == PREFIX_BYTES {
            self.have = 0;
            let [_, length @ ..] = self.prefix;
            self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_call_is_known_by_its_content_type() {
        for content_type in [
            "application/grpc",
            "application/grpc+proto",
            "Application/gRPC+json",
            "application/grpc; charset=utf-8",
        ] {
            assert!(is_grpc(content_type.as_bytes()), "{content_type}");
        }
        for content_type in
            ["", "application/grp", "application/grpc-web", "application/grpcx", "application/json"]
        {
            assert!(!is_grpc(content_type.as_bytes()), "{content_type}");
        }
    }

    #[test]
    fn timeouts_are_read_in_every_unit() {
        let read = |text: &str| parse_timeout(text.as_bytes()).unwrap();
        assert_eq!(read("1H"), Duration::from_secs(3600));
        assert_eq!(read("2M"), Duration::from_secs(120));
        assert_eq!(read("3S"), Duration::from_secs(3));
        assert_eq!(read("4m"), Duration::from_millis(4));
        assert_eq!(read("5u"), Duration::from_micros(5));
        assert_eq!(read("6n"), Duration::from_nanos(6));
        assert_eq!(read("00000007n"), Duration::from_nanos(7));
        assert_eq!(read("0S"), Duration::ZERO);
        assert_eq!(read("99999999H"), Duration::from_secs(99_999_999 * 3600));
    }

    #[test]
    fn what_is_no_timeout_is_refused_in_words() {
        let why = |text: &str| parse_timeout(text.as_bytes()).unwrap_err();
        assert!(why("").contains("empty"));
        assert!(why("S").contains("without a number"));
        for text in ["1", "1s", "1h", "1S ", "1Sm\u{e9}"] {
            assert!(why(text).contains("unit, one of"), "{text}");
        }
        assert!(why("100000000S").contains("eight digits"));
        for text in [" 1S", "-1S", "+1S", "1.5S", "0x1S"] {
            assert!(why(text).contains("whole number"), "{text}");
        }
    }

    #[test]
    fn timeouts_are_sent_in_the_finest_unit_that_eight_digits_allow() {
        let sent = |timeout| String::from_utf8(TimeoutText::new(timeout).as_bytes().to_vec()).unwrap();
        assert_eq!(sent(Duration::ZERO), "0n");
        assert_eq!(sent(Duration::from_nanos(99_999_999)), "99999999n");
        assert_eq!(sent(Duration::from_millis(100)), "100000u");
        assert_eq!(sent(Duration::from_nanos(1_999_999_999)), "1999999u");
        assert_eq!(sent(Duration::from_secs(100)), "100000m");
        assert_eq!(sent(Duration::from_secs(100_000)), "100000S");
        assert_eq!(sent(Duration::from_secs(100_000_059)), "1666667M");
        assert_eq!(sent(Duration::from_secs(99_999_999 * 3600)), "99999999H");
        assert_eq!(sent(Duration::MAX), "99999999H");
    }

    #[test]
    fn reasons_are_percent_encoded_where_they_must_be() {
        assert!(matches!(message("no instance of \"orders\""), Cow::Borrowed("no instance of \"orders\"")));
        assert_eq!(message("caf\u{e9} 100%\r\n\u{1F600}"), "caf%C3%A9 100%25%0D%0A%F0%9F%98%80");
        assert_eq!(message(""), "");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        assert_eq!(message(&"a".repeat(5000)), "a".repeat(MESSAGE_BYTES_MAX));
        let reason = message(&"\u{e9}".repeat(5000)).into_owned();
        assert_eq!(reason, "%C3%A9".repeat(MESSAGE_BYTES_MAX / 6));
    }

    #[test]
    fn no_reason_begins_or_ends_in_a_space_when_it_is_sent() {
        assert_eq!(message(" a b "), "%20a b%20");
        assert_eq!(message(" "), "%20");
        assert_eq!(message("  "), "%20%20");
        // Cut behind a space.
        let reason = "a".repeat(MESSAGE_BYTES_MAX - 1) + " b";
        assert_eq!(message(&reason), "a".repeat(MESSAGE_BYTES_MAX - 1));
        assert_eq!(message(&" ".repeat(5000)), format!("%20{}%20", " ".repeat(MESSAGE_BYTES_MAX - 6)));
    }

    proptest! {
        #[test]
        fn every_reason_holds_the_property_of_the_fuzz_target(reason in "[ -~\u{e9}\u{1F600}\r]{0,1100}") {
            super::super::fuzzing::fuzz_grpc_message(reason.as_bytes());
        }

        #[test]
        fn every_timeout_holds_the_property_of_the_fuzz_target(number in 0u64..1_000_000_000, unit in "[HMSmunx]") {
            super::super::fuzzing::fuzz_grpc_timeout(format!("{number}{unit}").as_bytes());
        }

        #[test]
        fn what_is_sent_is_never_longer_than_what_is_left(seconds in 0u64..400_000_000_000, nanos in 0u32..1_000_000_000) {
            let left = Duration::new(seconds, nanos);
            let text = TimeoutText::new(left);
            let sent = parse_timeout(text.as_bytes()).unwrap();
            prop_assert!(sent <= left);
            let is_cut = left > Duration::from_secs(99_999_999 * 3600);
            prop_assert!(left - sent <= left / 100_000 || is_cut, "{sent:?} of {left:?}");
        }
    }

    proptest! {
        #[test]
        fn a_stream_is_between_messages_at_their_ends_only(
            lengths in proptest::collection::vec(0_usize..300, 0..6),
            cuts in proptest::collection::vec(1_usize..40, 300),
        ) {
            let (mut stream, mut ends) = (Vec::new(), vec![0]);
            for length in lengths {
                stream.push(0);
                stream.extend(u32::try_from(length).unwrap().to_be_bytes());
                stream.resize(stream.len() + length, 7);
                ends.push(stream.len());
            }
            let (mut messages, mut at) = (Messages::default(), 0);
            for cut in cuts {
                prop_assert_eq!(messages.is_between(), ends.contains(&at), "at {}", at);
                let to = stream.len().min(at + cut);
                messages.follow(&stream[at..to]);
                at = to;
            }
        }
    }
}
