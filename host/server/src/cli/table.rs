//! Tables for people, and the forms of numbers, times and names in them.

use std::time::Duration;

use std::borrow::Cow;

use comfy_table::{Cell, CellAlignment, Table, presets};

/// Columns with names; a `>` in front of a name sets the column to the right, as numbers want it.
pub(crate) fn table<const N: usize>(columns: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let alignment = |name: &str| if name.starts_with('>') { CellAlignment::Right } else { CellAlignment::Left };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(columns.map(|name| Cell::new(name.trim_start_matches('>')).set_alignment(alignment(name))));
    for row in rows {
        let cells = row.into_iter().zip(columns).map(|(text, name)| Cell::new(text).set_alignment(alignment(name)));
        table.add_row(cells.collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 event`, `2,000 events`.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A word as a shell takes it for one word.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into()
    } else {
        format!("'{}'", word.replace('\'', r"'\''")).into()
    }
}

/// `812 ms`, `4.21 s`, `3 min 20 s`.
pub(crate) fn duration(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 0.001 => format!("{} us", duration.as_micros()),
        seconds if seconds < 1.0 => format!("{} ms", duration.as_millis()),
        seconds if seconds < 60.0 => format!("{seconds:.2} s"),
        _ => format!("{} min {} s", duration.as_secs() / 60, duration.as_secs() % 60),
    }
}

/// Events a second, as a whole number.
pub(crate) fn rate(events: u64, time: Duration) -> u64 {
    #[allow(clippy::cast_possible_truncation)] // a rate is far below 2^53
    let rate = (events as f64 / time.as_secs_f64().max(1e-9)).round() as u64;
    rate
}

/// Microseconds since the Unix epoch as RFC 3339 in UTC; a time that no calendar has, as its number.
pub(crate) fn rfc3339(time_us: i64) -> String {
    jiff::Timestamp::from_microsecond(time_us).map_or_else(|_| format!("{time_us}us"), |time| time.to_string())
}

/// As long for every time, for lines that stand under each other: to the millisecond.
pub(crate) fn rfc3339_ms(time_us: i64) -> String {
    jiff::Timestamp::from_microsecond(time_us).map_or_else(|_| format!("{time_us}us"), |time| format!("{time:.3}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let rows = [["UA".to_owned(), grouped(4_637)], ["9E".to_owned(), grouped(83)]];
        let text = table(["carrier", ">departures"], rows);
        assert_eq!(text, "carrier  departures\nUA            4,637\n9E               83");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [0, 7, 999, 1_000, 53_472, 1_234_567].map(grouped);
        assert_eq!(texts, ["0", "7", "999", "1,000", "53,472", "1,234,567"]);
    }

    #[test]
    fn durations_and_times_are_short() {
        let texts = [7, 812_000, 4_210_000, 200_000_000].map(|us| duration(Duration::from_micros(us)));
        assert_eq!(texts, ["7 us", "812 ms", "4.21 s", "3 min 20 s"]);
        assert_eq!(rfc3339(1_357_035_420_000_000), "2013-01-01T10:17:00Z");
        assert_eq!(rfc3339(i64::MAX), format!("{}us", i64::MAX));
        assert_eq!(rfc3339_ms(1_357_035_420_000_000), "2013-01-01T10:17:00.000Z");
        assert_eq!(rfc3339_ms(1_357_035_420_123_956), "2013-01-01T10:17:00.123Z");
        assert_eq!(rate(53_472, Duration::from_secs(2)), 26_736);
    }
    #[test]
    fn counts_have_their_plural_and_words_survive_a_shell() {
        assert_eq!((count(1, "event"), count(0, "event")), ("1 event".into(), "0 events".into()));
        assert_eq!(["a-b_1.wasm", "it's $HOME", ""].map(quoted), ["a-b_1.wasm", r"'it'\''s $HOME'", "''"]);
    }
}
