//! Plain text for people and models: a title, sections, and one fact a line.
//!
//! Values come from whoever sent the request. A value that brought line breaks of its own could forge a line of the
//! report, and one without end could bury it; so every value is one line of limited length.

use std::fmt::{Display, Write as _};
use std::time::Duration;

/// The longest value that is shown whole, in characters.
const LONGEST_VALUE: usize = 300;

/// A report in the making.
#[derive(Debug)]
pub(super) struct Report(String);

impl Report {
    pub(super) fn new(title: &str) -> Self {
        Self(format!("{title}\n{}\n", "=".repeat(title.chars().count())))
    }

    #[must_use]
    pub(super) fn section(mut self, title: &str) -> Self {
        self.write(format_args!("\n{title}\n"));
        self
    }

    /// A fact.
    #[must_use]
    pub(super) fn line(mut self, name: &str, value: impl Display) -> Self {
        let value = one_line(&value.to_string(), LONGEST_VALUE);
        self.write(format_args!("  {name}: {value}\n"));
        self
    }

    /// A fact that there may be none of.
    #[must_use]
    pub(super) fn optional(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.line(name, value),
            None => self.line(name, "none"),
        }
    }

    /// Several facts of the same kind.
    #[must_use]
    pub(super) fn lines<N: AsRef<str>, V: Display>(mut self, lines: impl IntoIterator<Item = (N, V)>) -> Self {
        for (name, value) in lines {
            self = self.line(&one_line(name.as_ref(), LONGEST_VALUE), value);
        }
        self
    }

    /// A sentence. It is the server's own and not looked at.
    #[must_use]
    pub(super) fn remark(mut self, sentence: &str) -> Self {
        self.write(format_args!("  {sentence}\n"));
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("writing to a string does not fail");
    }
}

/// `text` without line breaks and other control characters, cut after `longest` characters.
pub(super) fn one_line(text: &str, longest: usize) -> String {
    let mut line: String = text
        .chars()
        .take(longest)
        .map(|letter| if letter.is_control() { '\u{fffd}' } else { letter })
        .collect();
    if text.chars().nth(longest).is_some() {
        line.push_str("...");
    }
    line
}

/// A length of time, with the two units that matter.
pub(super) fn duration(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{:.3} ms", length.as_secs_f64() * 1000.0),
        1..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A moment, in UTC.
pub(super) fn moment(unix_seconds: u64) -> String {
    let leap = |year: u64| (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    // The calendar repeats every 400 years, so counting year by year never takes more than that.
    let (mut days, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (hours, minutes, seconds) = (second / 3600, second % 3600 / 60, second % 60);
    format!(
        "{year:04}-{month:02}-{:02} {hours:02}:{minutes:02}:{seconds:02} UTC",
        days + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_a_title_sections_and_lines() {
        let report = Report::new("Title")
            .section("Part")
            .line("one", 1)
            .optional("two", None::<u8>)
            .remark("Well.");
        assert_eq!(
            report.finish(),
            "Title\n=====\n\nPart\n  one: 1\n  two: none\n  Well.\n"
        );
    }

    #[test]
    fn a_value_cannot_forge_a_line() {
        let report = Report::new("T").line("agent", "x\n  scopes: admin\u{1b}[2J").finish();
        assert_eq!(report.lines().count(), 3);
        assert!(!report.contains('\u{1b}'));
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(one_line("äöü", 3), "äöü");
        assert_eq!(one_line("äöüß", 3), "äöü...");
    }

    #[test]
    fn durations_are_readable() {
        for (seconds, text) in [
            (1, "1 s"),
            (59, "59 s"),
            (61, "1 min 1 s"),
            (3600, "1 h 0 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), text);
        }
        assert_eq!(duration(Duration::from_micros(1500)), "1.500 ms");
    }

    #[test]
    fn moments_follow_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_798_761_599, "2026-12-31 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (32_503_680_000, "3000-01-01 00:00:00 UTC"),
        ] {
            assert_eq!(moment(seconds), text);
        }
        // Nonsense in a token must not hang the server.
        assert!(moment(u64::MAX).ends_with("UTC"));
    }
}
