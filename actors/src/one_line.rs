//! Makes a sentence for a header or a log line of a text that others wrote. Pure.

/// At most this many characters: an explanation in a reply is read by people, and its header is sent each time.
const CHARS_MAX: usize = 240;

/// The text without anything that would end a line or do things to a terminal, cut to a length that a header takes.
/// Of a text of several lines the first two: what is wrong, and where.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(2).collect();
    let visible = |character: char| if character.is_control() { '?' } else { character };
    let line = lines.join(" ");
    let mut shown: String = line.chars().map(visible).take(CHARS_MAX).collect();
    if line.chars().nth(CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_stays_as_it_is() {
        assert_eq!(one_line("2 DOWN, 1 of version 0.0.1"), "2 DOWN, 1 of version 0.0.1");
    }

    #[test]
    fn of_several_lines_the_first_two_are_taken() {
        assert_eq!(one_line("wrong\r\n --> r.yaml:2:1\n2 | x\n"), "wrong --> r.yaml:2:1");
    }

    #[test]
    fn nothing_that_controls_gets_through_and_the_length_is_bounded() {
        assert_eq!(one_line("a\rb\u{1b}[31m\u{0}"), "a?b?[31m?");
        assert_eq!(one_line(&"ä".repeat(1000)).chars().count(), CHARS_MAX + 1);
    }
}
