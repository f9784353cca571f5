//! Walks through the index, from chunk to chunk that may match, and what they have in common.

use wasmill_core::event::Position;
use wasmill_core::store::Direction;

/// Chunks that one walk of a term of a filter finds before it is made again.
pub(crate) const STEPS_MAX: i64 = 256;
/// Beyond every position.
pub(crate) const END: i64 = 1 << 53;

/// What a walk has found: first positions of chunks, in walking order, and where it goes on.
#[derive(Debug, Default)]
pub(crate) struct Walk {
    pub(crate) found: Vec<i64>,
    /// `None` when the index is exhausted.
    pub(crate) next: Option<i64>,
}

impl Walk {
    /// Reads the steps of a walk. Each is twice a place, and one more if a chunk begins there that may
    /// match; a place outside of the log ends it.
    pub(crate) fn of_steps(steps: impl IntoIterator<Item = i64>, direction: Direction) -> Self {
        let mut walk = Walk::default();
        for step in steps {
            let (at, hit) = (step >> 1, step & 1 == 1);
            if !(0..END).contains(&at) {
                walk.next = None;
                break;
            }
            if hit {
                walk.found.push(at);
            }
            walk.next = Some(match direction {
                Direction::Forward => at + i64::from(hit),
                Direction::Backward => at - i64::from(hit),
            });
        }
        walk.next = walk.next.filter(|next| *next >= 0);
        walk
    }
}

/// The chunks that any of the walks has found, up to where all of them have looked.
pub(crate) fn union(walks: Vec<Walk>, direction: Direction) -> Walk {
    let next = walks.iter().filter_map(|walk| walk.next);
    let next = match direction {
        Direction::Forward => next.min(),
        Direction::Backward => next.max(),
    };
    let within = |at: &i64| {
        next.is_none_or(|next| match direction {
            Direction::Forward => *at < next,
            Direction::Backward => *at > next,
        })
    };
    let mut found: Vec<i64> = walks.into_iter().flat_map(|walk| walk.found).filter(within).collect();
    found.sort_unstable();
    found.dedup();
    if direction == Direction::Backward {
        found.reverse();
    }
    Walk { found, next }
}

/// Where a walk begins.
pub(crate) fn start(from: Position, direction: Direction) -> i64 {
    let beyond = match direction {
        Direction::Forward => END,
        Direction::Backward => END - 1,
    };
    i64::try_from(from.0).unwrap_or(beyond).min(beyond)
}
