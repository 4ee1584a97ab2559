//! The date of a message (RFC 9110 §5.6.7).

use std::io::Write;

const SECONDS_A_DAY: u64 = 86_400;
/// 9999-12-31 23:59:59: the form has four digits for the year.
const SECONDS_MAX: u64 = 253_402_300_799;
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A date as `Date` fields have it.
pub type DateText = [u8; 29];

/// `Sun, 06 Nov 1994 08:49:37 GMT`, from seconds since 1970. What lies beyond the year 9999 is cut to its end.
pub fn imf_fixdate(seconds: u64) -> DateText {
    let seconds = seconds.min(SECONDS_MAX);
    let (days, second) = (seconds / SECONDS_A_DAY, seconds % SECONDS_A_DAY);
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], at: u64| {
        usize::try_from(at).ok().and_then(|at| names.get(at).copied()).unwrap_or_default()
    };
    let mut text = [b' '; 29];
    // The parts have their lengths: nothing is cut off.
    let _ = write!(
        text.as_mut_slice(),
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&WEEKDAYS, days % 7),
        name(&MONTHS, month),
        second / 3600,
        second / 60 % 60,
        second % 60,
    );
    text
}

/// Year, month (from 0) and day of a number of days since 1970: in years that begin in March, in which the leap day is
/// the last, and in eras of 400 of them, which all have 146 097 days.
#[allow(
    clippy::arithmetic_side_effects,
    reason = "days are few, see SECONDS_MAX, and no difference is negative"
)]
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_0000_MARCH_1: u64 = 719_468;
    let days = days + DAYS_FROM_0000_MARCH_1;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 10 } else { month + 2 };
    (era * 400 + year + u64::from(is_next_year), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(seconds: u64) -> String {
        String::from_utf8_lossy(&imf_fixdate(seconds)).into_owned()
    }

    #[test]
    fn dates_are_written_in_their_fixed_form() {
        assert_eq!(text(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(text(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(text(951_782_399), "Mon, 28 Feb 2000 23:59:59 GMT");
        assert_eq!(text(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(text(4_107_542_399), "Sun, 28 Feb 2100 23:59:59 GMT");
        assert_eq!(text(4_107_542_400), "Mon, 01 Mar 2100 00:00:00 GMT");
        assert_eq!(text(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn each_day_follows_the_one_before() {
        let mut before = civil(0);
        for days in 1..200_000 {
            let next = civil(days);
            let is_next =
                if next.2 > 1 { next == (before.0, before.1, before.2 + 1) } else { before.2 >= 28 };
            assert!(is_next && next.1 < 12, "{before:?} {next:?}");
            before = next;
        }
    }
}
