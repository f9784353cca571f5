//! Places in the log as they are written on a command line.

use wasmill_core::group::Start;

use crate::convert;
use crate::proto::GroupStart;
use crate::proto::group_start::Kind;

/// `first`, `last`, a position, or a time as RFC 3339 writes it.
pub(in crate::cli) fn parse(text: &str) -> Result<GroupStart, String> {
    let kind = match convert::place(text)? {
        Start::First => Kind::First(true),
        Start::Last => Kind::Last(true),
        Start::Position(position) => Kind::Position(position),
        Start::Offset(offset) => Kind::Offset(offset),
        Start::Time(time_us) => Kind::TimeUs(time_us),
    };
    Ok(GroupStart { kind: Some(kind) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_word_a_number_or_a_time() {
        let kind = |text: &str| parse(text).ok().and_then(|start| start.kind);
        assert_eq!(kind("first"), Some(Kind::First(true)));
        assert_eq!(kind("last"), Some(Kind::Last(true)));
        assert_eq!(kind("7"), Some(Kind::Position(7)));
        assert_eq!(kind("1970-01-01T00:00:01Z"), Some(Kind::TimeUs(1_000_000)));
        for wrong in ["", "-1", "noon", "99999999999999999999"] {
            assert_eq!(kind(wrong), None, "{wrong}");
        }
    }
}
