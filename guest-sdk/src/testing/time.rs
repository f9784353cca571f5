//! Times as the JSON Lines of `wasmill publish` write them.

/// Microseconds since the Unix epoch of an RFC 3339 time in UTC, or `None` if `text` is not one.
pub(super) fn parse(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once('T')?;
    let time = rest.strip_suffix('Z')?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 60 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros: u64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

fn numbers(text: &str, separator: char) -> Option<[u64; 3]> {
    let mut parts = text.split(separator).map(|part| part.parse().ok());
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

/// In the Gregorian calendar, with years that begin in March so that the leap day comes last.
fn days_since_epoch(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // 1970-01-01 counted from 0000-03-01.
    days - 719_468
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn times_become_microseconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2013-01-01T10:17:00.000Z", Some(1_357_035_420_000_000)),
            ("2000-02-29T23:59:59.5Z", Some(951_868_799_500_000)),
            ("2024-12-31T00:00:00.123456789Z", Some(1_735_603_200_123_456)),
            ("2013-01-01T10:17:00+01:00", None),
            ("2013-13-01T10:17:00Z", None),
            ("yesterday", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
