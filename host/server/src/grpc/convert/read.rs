//! What is to be read, and facts of streams.

use wasmill_core::clock::Timestamp;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{Offset, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::store::Direction;

use crate::convert::Term;
use crate::pages::{Bound, Range};
use crate::proto;

fn direction(direction: i32) -> Result<Direction, Problem> {
    match proto::Direction::try_from(direction) {
        Ok(proto::Direction::Unspecified | proto::Direction::Forward) => Ok(Direction::Forward),
        Ok(proto::Direction::Backward) => Ok(Direction::Backward),
        Err(_) => {
            let message = format!("{direction} is not a direction: 1 is forward, 2 is backward");
            Err(Problem::new(Code::InvalidArgument, &message).with("direction", message))
        }
    }
}

pub(crate) fn filter(filter: Option<proto::Filter>) -> Result<Filter, Problem> {
    let terms: Vec<Term> = filter.map_or_else(Vec::new, |filter| filter.terms).into_iter().map(term).collect();
    let mut problem = Problem::new(Code::InvalidArgument, "the filter has entries that are not allowed");
    let at = |term, list: &str, index| format!("filter.terms[{term}].{list}[{index}]");
    let filter = crate::convert::filter(&terms, "filter", at, &mut problem.details);
    if problem.details.is_empty() { Ok(filter) } else { Err(problem) }
}

pub(super) fn term(term: proto::FilterTerm) -> Term {
    let proto::FilterTerm { streams, types, keys, tags, correlation_ids } = term;
    Term { streams, types, keys, tags, correlation_ids }
}

/// Where a read begins or ends: at a place or a time, of which a request may name one. `names` are those
/// of the two fields.
pub(crate) fn bound<T>(
    place: Option<u64>,
    time_us: Option<i64>,
    names: [&str; 2],
    typed: fn(u64) -> T,
) -> Result<Option<Bound<T>>, Problem> {
    match (place, time_us) {
        (Some(_), Some(_)) => {
            let message = format!("there is {} as well; give one of the two", names[0]);
            Err(Problem::new(Code::InvalidArgument, "it is not clear what is to be read").with(names[1], message))
        }
        (Some(place), None) => Ok(Some(Bound::At(typed(place)))),
        (None, time_us) => Ok(time_us.map(|time_us| Bound::Time(Timestamp(time_us)))),
    }
}

pub(crate) fn stream_range(request: &proto::ReadStreamRequest) -> Result<Range<Offset>, Problem> {
    Ok(Range {
        from: bound(request.from_offset, request.from_time_us, ["from_offset", "from_time_us"], Offset)?,
        until: bound(request.until_offset, request.until_time_us, ["until_offset", "until_time_us"], Offset)?,
        direction: direction(request.direction)?,
        limit: all_if_zero(request.limit),
    })
}

pub(crate) fn log_range(request: &proto::ReadLogRequest) -> Result<Range<Position>, Problem> {
    Ok(Range {
        from: bound(request.from_position, request.from_time_us, ["from_position", "from_time_us"], Position)?,
        until: bound(request.until_position, request.until_time_us, ["until_position", "until_time_us"], Position)?,
        direction: direction(request.direction)?,
        limit: all_if_zero(request.limit),
    })
}

fn all_if_zero(limit: u64) -> Option<u64> {
    Some(limit).filter(|limit| *limit > 0)
}
