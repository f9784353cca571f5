//! What is to be read, by place or by time, and how far a read of it has come.

use wasmill_core::clock::Timestamp;
use wasmill_core::event::{Event, Offset, Position};
use wasmill_core::log::read::{ReadError, Reader};
use wasmill_core::name::StreamName;
use wasmill_core::store::{Direction, PageLimit};

use super::{Batch, NUMBER_MAX, PAGE};

/// Where a read begins or ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound<T> {
    At(T),
    /// By `recorded_at`, which never steps back with position. Forwards it stands before the oldest event
    /// that was recorded then or later, backwards behind the newest that was recorded then or earlier.
    Time(Timestamp),
}

/// One bounded read.
#[derive(Clone, Debug)]
pub(crate) struct Range<T> {
    /// The first that is read; `None` is where reading in this direction naturally begins.
    pub(crate) from: Option<Bound<T>>,
    /// The first that is not read any more; `None`: all there is in this direction.
    pub(crate) until: Option<Bound<T>>,
    pub(crate) direction: Direction,
    /// `None`: all there is.
    pub(crate) limit: Option<u64>,
}

/// Places from `low` on and below `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) low: u64,
    pub(super) high: u64,
}

impl Span {
    /// Of the log, up to what is there now.
    pub(super) async fn of_log(reader: &Reader, range: &Range<Position>) -> Result<Self, ReadError> {
        let backward = range.direction == Direction::Backward;
        let (mut from, mut until) = (None, None);
        for (bound, edge) in [(range.from, &mut from), (range.until, &mut until)] {
            *edge = match bound {
                None => None,
                Some(Bound::At(position)) => Some(position.0.saturating_add(backward.into())),
                Some(Bound::Time(time)) => Some(reader.position_at(edge_in_time(time, backward)).await?.0),
            };
        }
        let tail = reader.tail().next().0;
        let Self { low, high } = Self::between(range.direction, from, until, tail);
        Ok(Self { low: low.min(NUMBER_MAX), high: high.min(tail) })
    }

    /// Of a stream; where it ends is seen when it is read.
    pub(super) async fn of_stream(
        reader: &Reader,
        range: &Range<Offset>,
        stream: &StreamName,
    ) -> Result<Self, ReadError> {
        let backward = range.direction == Direction::Backward;
        let (mut from, mut until) = (None, None);
        for (bound, edge) in [(range.from, &mut from), (range.until, &mut until)] {
            *edge = match bound {
                None => None,
                Some(Bound::At(offset)) => Some(offset.0.saturating_add(backward.into())),
                Some(Bound::Time(time)) => Some(reader.offset_at(stream, edge_in_time(time, backward)).await?.0),
            };
        }
        let Self { low, high } = Self::between(range.direction, from, until, NUMBER_MAX + 1);
        Ok(Self { low: low.min(NUMBER_MAX), high: high.min(NUMBER_MAX + 1) })
    }

    fn between(direction: Direction, from: Option<u64>, until: Option<u64>, natural_end: u64) -> Self {
        let (low, high) = if direction == Direction::Forward { (from, until) } else { (until, from) };
        Self { low: low.unwrap_or(0), high: high.unwrap_or(natural_end) }
    }

    fn contains(&self, place: u64) -> bool {
        (self.low..self.high).contains(&place)
    }

    fn len(&self) -> u64 {
        self.high.saturating_sub(self.low)
    }
}

/// The time whose first event is the edge.
fn edge_in_time(time: Timestamp, backward: bool) -> Timestamp {
    Timestamp(time.0.saturating_add(backward.into()))
}

/// How far a read has come.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) next: Option<u64>,
    pub(super) direction: Direction,
    pub(super) span: Span,
    left: u64,
    place: fn(&Event) -> u64,
}

impl Reading {
    pub(super) fn new(span: Span, direction: Direction, limit: Option<u64>, place: fn(&Event) -> u64) -> Self {
        // An empty span is read too, and nothing of it kept: what does not exist is then named.
        let first = match direction {
            Direction::Forward => span.low,
            Direction::Backward => span.high.saturating_sub(1),
        };
        Self { next: Some(first), direction, span, left: limit.unwrap_or(u64::MAX), place }
    }

    pub(super) fn page_limit(&self) -> PageLimit {
        let wanted = usize::try_from(self.left.min(self.span.len())).unwrap_or(usize::MAX);
        PageLimit { events: PAGE.events.min(wanted).max(1), bytes: PAGE.bytes }
    }

    /// Takes a page in. `next` is where it says that reading goes on, `end` that there is no more now.
    pub(super) fn take(&mut self, mut events: Vec<Event>, next: Option<u64>, end: bool) -> Batch {
        let (span, from) = (self.span, self.next.unwrap_or_default());
        events.retain(|event| span.contains((self.place)(event)));
        let (covered_through, next) = match self.direction {
            Direction::Forward => {
                let next = next.unwrap_or(from).min(span.high);
                ((next > from).then(|| next - 1), Some(next).filter(|next| !end && *next < span.high))
            }
            Direction::Backward => match next.filter(|next| *next >= span.low) {
                Some(next) => (Some(next + 1), Some(next).filter(|_| !end)),
                None => ((span.len() > 0).then_some(span.low), None),
            },
        };
        self.left -= (events.len() as u64).min(self.left);
        self.next = next.filter(|_| self.left > 0);
        Batch { events, covered_through, more: next.is_some() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(direction: Direction, low: u64, high: u64) -> Reading {
        Reading::new(Span { low, high }, direction, None, |event| event.position().0)
    }

    #[test]
    fn from_is_read_and_until_is_not_in_either_direction() {
        let span = |direction, from, until| Span::between(direction, from, until, 10);
        assert_eq!(span(Direction::Forward, Some(3), Some(7)), Span { low: 3, high: 7 });
        // The edges of a backward read stand behind its places.
        assert_eq!(span(Direction::Backward, Some(8), Some(4)), Span { low: 4, high: 8 });
        assert_eq!(span(Direction::Backward, None, None), Span { low: 0, high: 10 });
    }

    #[test]
    fn a_page_that_reaches_beyond_the_end_covers_only_what_was_asked_for() {
        let mut forward = reading(Direction::Forward, 3, 7);
        let batch = forward.take(Vec::new(), Some(9), false);
        assert_eq!((batch.covered_through, batch.more, forward.next), (Some(6), false, None));
        let mut backward = reading(Direction::Backward, 3, 7);
        assert_eq!(backward.next, Some(6));
        let batch = backward.take(Vec::new(), Some(1), false);
        assert_eq!((batch.covered_through, batch.more, backward.next), (Some(3), false, None));
    }

    #[test]
    fn an_empty_span_covers_nothing() {
        for direction in [Direction::Forward, Direction::Backward] {
            let mut reading = reading(direction, 5, 5);
            let batch = reading.take(Vec::new(), Some(5).filter(|_| direction == Direction::Forward), false);
            assert_eq!((batch.covered_through, batch.more), (None, false), "{direction:?}");
        }
    }
}
