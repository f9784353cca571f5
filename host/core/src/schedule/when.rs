//! When a schedule publishes.

use std::str::FromStr;

use croner::Cron;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::limits::schedule as limits;

/// As it is stored, and as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// Once, at that time (microseconds since 1970). One that has passed is now.
    At(i64),
    /// Again and again, that many milliseconds apart, counted from when the schedule was made.
    Every(u64),
    #[serde(rename_all = "camelCase")]
    Cron {
        /// Five fields (minute, hour, day of month, month, day of week), or six with seconds in front; `L`, `#`,
        /// `W` and names such as `@daily` and `MON-FRI` too. See <https://docs.rs/croner>.
        expression: String,
        /// A name of the IANA database, such as `Europe/Berlin`. A time that a change of the clock leaves out is
        /// moved behind it.
        time_zone: String,
    },
}

/// What happens about times that have passed while no host was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// One event makes up for all of them.
    #[default]
    Once,
    /// Each is made up for.
    All,
    /// None is. A schedule of a single time publishes all the same.
    Skip,
}

impl When {
    /// What is wrong with it, and in which field.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        match self {
            When::At(us) if !(0..=crate::limits::publish::TIME_US_MAX).contains(us) => {
                Err(("at", "it does not lie between 1970 and 9999".into()))
            }
            When::At(_) => Ok(()),
            When::Every(ms) if !(limits::EVERY_MS_MIN..=limits::EVERY_MS_MAX).contains(ms) => {
                let (min, max) = (limits::EVERY_MS_MIN, limits::EVERY_MS_MAX);
                Err(("everyMs", format!("{ms} is out of its range, {min} to {max}")))
            }
            When::Every(_) => Ok(()),
            When::Cron { expression, time_zone } => {
                cron(expression).map_err(|what| ("cron", what))?;
                zone(time_zone).map_err(|what| ("timeZone", what))?;
                Ok(())
            }
        }
    }

    /// The first time after `after`; `None` when there is none. `anchor` is when the schedule was made.
    pub fn next(&self, after: Timestamp, anchor: Timestamp) -> Option<Timestamp> {
        match self {
            When::At(us) => Some(Timestamp(*us)).filter(|at| *at > after),
            When::Every(ms) => {
                let every = i64::try_from(*ms).unwrap_or(i64::MAX).saturating_mul(1_000).max(1);
                let gone = (after.0 - anchor.0).max(0) / every;
                Some(Timestamp(anchor.0.saturating_add((gone + 1).saturating_mul(every))))
            }
            When::Cron { expression, time_zone } => {
                let (cron, zone) = (cron(expression).ok()?, zone(time_zone).ok()?);
                let after = jiff::Timestamp::from_microsecond(after.0).ok()?.to_zoned(zone);
                let next = cron.find_next_occurrence(&after, false).ok()?;
                Some(Timestamp(next.timestamp().as_microsecond()))
            }
        }
    }
}

fn cron(expression: &str) -> Result<Cron, String> {
    if expression.len() > limits::CRON_BYTES_MAX {
        return Err(format!("it has {} bytes; the limit is {}", expression.len(), limits::CRON_BYTES_MAX));
    }
    Cron::from_str(expression).map_err(|error| format!("`{}`: {error}", expression.escape_debug()))
}

fn zone(name: &str) -> Result<TimeZone, String> {
    let unknown = |_| format!("`{}` is no time zone; give one like `Europe/Berlin`, or `UTC`", name.escape_debug());
    TimeZone::get(name).map_err(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    fn cron(expression: &str, time_zone: &str) -> When {
        When::Cron { expression: expression.into(), time_zone: time_zone.into() }
    }

    /// The first `n` times after `from`.
    fn times(when: &When, from: &str, n: usize) -> Vec<String> {
        let mut after = at(from);
        let mut next = || {
            after = when.next(after, Timestamp(0))?;
            Some(jiff::Timestamp::from_microsecond(after.0).unwrap().to_string())
        };
        std::iter::from_fn(&mut next).take(n).collect()
    }

    #[test]
    fn cron_expressions_are_read_in_their_time_zone() {
        let monday_mornings = cron("0 9 * * MON", "Europe/Berlin");
        // The clock went back on 25 October 2026.
        assert_eq!(times(&monday_mornings, "2026-10-20T00:00:00Z", 1), ["2026-10-26T08:00:00Z"]);
        assert_eq!(times(&monday_mornings, "2026-10-18T00:00:00Z", 1), ["2026-10-19T07:00:00Z"]);
        let with_seconds = cron("*/20 * * * * *", "UTC");
        let expected = ["2026-01-01T00:00:20Z", "2026-01-01T00:00:40Z", "2026-01-01T00:01:00Z"];
        assert_eq!(times(&with_seconds, "2026-01-01T00:00:00Z", 3), expected);
        let end_of_month = cron("0 0 L * *", "UTC");
        assert_eq!(times(&end_of_month, "2028-02-01T00:00:00Z", 1), ["2028-02-29T00:00:00Z"]);
    }

    #[test]
    fn a_time_that_the_change_of_the_clock_leaves_out_is_not_left_out() {
        // In Berlin there was no 02:30 on 29 March 2026.
        let nightly = cron("30 2 * * *", "Europe/Berlin");
        let found = times(&nightly, "2026-03-28T12:00:00Z", 2);
        assert!(found[0].starts_with("2026-03-29T01:"), "{found:?}");
        assert_eq!(found[1], "2026-03-30T00:30:00Z");
    }

    #[test]
    fn an_interval_keeps_its_beat() {
        let every = When::Every(90_000);
        let anchor = Timestamp(5_000_000);
        assert_eq!(every.next(Timestamp(0), anchor), Some(Timestamp(95_000_000)));
        assert_eq!(every.next(Timestamp(95_000_000), anchor), Some(Timestamp(185_000_000)));
        assert_eq!(every.next(Timestamp(200_000_000), anchor), Some(Timestamp(275_000_000)));
    }

    #[test]
    fn mistakes_are_named() {
        let field = |when: &When| when.check().map_err(|(field, _)| field);
        assert_eq!(field(&cron("0 9 * * MON", "Europe/Berlin")), Ok(()));
        assert_eq!(field(&cron("@daily", "UTC")), Ok(()));
        assert_eq!(field(&cron("61 * * * *", "UTC")), Err("cron"));
        assert_eq!(field(&cron("hello", "UTC")), Err("cron"));
        assert_eq!(field(&cron("* * * * *", "Mars/Base")), Err("timeZone"));
        assert_eq!(field(&When::Every(999)), Err("everyMs"));
        assert_eq!(field(&When::At(-1)), Err("at"));
    }
}
