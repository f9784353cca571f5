//! Places in the log as they are written on a command line.

use crate::proto::GroupStart;
use crate::proto::group_start::Kind;

/// `first`, `last`, a position, or a time as RFC 3339 writes it.
pub(in crate::cli) fn parse(text: &str) -> Result<GroupStart, String> {
    let kind = match text {
        "first" => Kind::First(true),
        "last" => Kind::Last(true),
        text if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Kind::Position(text.parse().map_err(|_| "it is no position".to_owned())?)
        }
        text => {
            let time = text.parse::<jiff::Timestamp>().map_err(|_| {
                "it is neither first, last, a position, nor a time such as 2013-01-01T05:15:00Z".to_owned()
            })?;
            Kind::TimeUs(time.as_microsecond())
        }
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
