//! Following a read model: each change of its documents as it is committed.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use tokio::sync::watch;

use super::changes::{Commit, News, bytes_of};
use super::generation::Generation;
use super::query::{Projections, QueryError, check_collection};
use crate::event::Position;
use crate::limits::read as limits;
use crate::record::GenerationId;
use crate::store::DocumentChange;

/// How far a follower is: it has every change before `next` of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub generation: GenerationId,
    pub next: Position,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.generation, self.next)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a place in the changes of a read model, such as 3-1207")]
pub struct InvalidPlace;

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let (generation, next) = text.trim().split_once('-').ok_or(InvalidPlace)?;
        let number = |text: &str| text.parse().map_err(|_| InvalidPlace);
        Ok(Self { generation: GenerationId(number(generation)?), next: Position(number(next)?) })
    }
}

/// What a follower wants to hear of.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub projection: String,
    /// All collections without it.
    pub collection: Option<String>,
    /// Of the keys.
    pub prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// What follows comes after this place. What was before is read by a query.
    Begin(Place),
    /// There is a gap, or another read model: everything is to be read anew, and what follows comes after.
    Reset(Place, Reset),
    Changes {
        changes: Vec<DocumentChange>,
        /// Where the read model is with them, and with all of its commit.
        place: Place,
        /// Whether they are the last ones of their commit.
        whole: bool,
    },
}

/// Why a follower has to begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// It was too slow, or away for too long.
    Behind,
    /// Another generation serves.
    Replaced,
}

impl Reset {
    pub fn as_str(self) -> &'static str {
        match self {
            Reset::Behind => "behind",
            Reset::Replaced => "replaced",
        }
    }
}

pub struct Follower {
    projections: Projections,
    wanted: Wanted,
    serving: Arc<Generation>,
    next: Position,
    first: Option<Update>,
    /// A commit of which a part was handed out.
    part: Option<(Commit, usize)>,
    deployed: watch::Receiver<u64>,
    moved: watch::Receiver<u64>,
}

impl Projections {
    /// Follows what changes from now on, or after a place where the caller was before.
    pub fn follow(&self, wanted: Wanted, after: Option<Place>) -> Result<Follower, QueryError> {
        let deployed = self.0.changed();
        let serving = self.serving(&wanted)?;
        serving.feed.follow(serving.next());
        let (next, moved) = (serving.feed.next().unwrap_or_else(|| serving.next()), serving.feed.moved());
        let mut follower =
            Follower { projections: self.clone(), wanted, serving, next, first: None, part: None, deployed, moved };
        follower.first = Some(follower.resumed(after));
        Ok(follower)
    }

    fn serving(&self, wanted: &Wanted) -> Result<Arc<Generation>, QueryError> {
        let (deployment, serving) = self.find_serving(&wanted.projection)?;
        if let Some(collection) = &wanted.collection {
            check_collection(&deployment, &serving, &wanted.projection, collection)?;
        }
        Ok(serving)
    }
}

impl Follower {
    fn resumed(&mut self, after: Option<Place>) -> Update {
        let Some(after) = after else { return Update::Begin(self.place()) };
        if after.generation != self.serving.id {
            return Update::Reset(self.place(), Reset::Replaced);
        }
        if matches!(self.serving.feed.after(after.next), News::Lost { .. }) {
            return Update::Reset(self.place(), Reset::Behind);
        }
        self.next = after.next;
        Update::Begin(after)
    }

    /// Every change before it was handed out.
    pub fn place(&self) -> Place {
        Place { generation: self.serving.id, next: self.next }
    }

    /// Waits for what comes next. It fails when the projection or the collection is gone. Cancel safe.
    pub async fn next(&mut self) -> Result<Update, QueryError> {
        if let Some(first) = self.first.take() {
            return Ok(first);
        }
        loop {
            if let Some((commit, from)) = self.part.take()
                && let Some(changes) = self.hand_out(commit, from)
            {
                return Ok(changes);
            }
            // Before looking: what moves from now on wakes the wait below.
            self.deployed.borrow_and_update();
            self.moved.borrow_and_update();
            let serving = self.projections.serving(&self.wanted)?;
            if !Arc::ptr_eq(&serving, &self.serving) {
                self.switch_to(serving);
                return Ok(Update::Reset(self.place(), Reset::Replaced));
            }
            match self.serving.feed.after(self.next) {
                News::Commit(commit) => {
                    self.part = Some((commit, 0));
                    continue;
                }
                News::Nothing { next } => self.next = next,
                News::Lost { next } => {
                    self.next = next;
                    return Ok(Update::Reset(self.place(), Reset::Behind));
                }
            }
            // Both senders live as long as what this holds.
            let _ = tokio::select! {
                moved = self.moved.changed() => moved,
                deployed = self.deployed.changed() => deployed,
            };
        }
    }

    /// The next part of a commit; `None` if nothing of it is wanted.
    fn hand_out(&mut self, commit: Commit, from: usize) -> Option<Update> {
        let wanted = |change: &DocumentChange| {
            self.wanted.collection.as_deref().is_none_or(|collection| *collection == *change.collection)
                && change.key.starts_with(&self.wanted.prefix)
        };
        let (mut changes, mut bytes, mut rest) = (Vec::new(), 0, None);
        for (n, change) in commit.changes.iter().enumerate().skip(from).filter(|(_, change)| wanted(change)) {
            bytes += bytes_of(change);
            let full = changes.len() == limits::CHANGES_AT_ONCE || bytes > limits::CHANGES_AT_ONCE_BYTES;
            if full && !changes.is_empty() {
                rest = Some(n);
                break;
            }
            changes.push(change.clone());
        }
        let place = Place { generation: self.serving.id, next: commit.next };
        match rest {
            Some(from) => self.part = Some((commit, from)),
            None => self.next = commit.next,
        }
        (!changes.is_empty()).then_some(Update::Changes { changes, place, whole: rest.is_none() })
    }

    fn switch_to(&mut self, serving: Arc<Generation>) {
        self.leave();
        serving.feed.follow(serving.next());
        self.next = serving.feed.next().unwrap_or_else(|| serving.next());
        self.moved = serving.feed.moved();
        self.part = None;
        self.serving = serving;
    }

    fn leave(&self) {
        self.serving.feed.unfollow(self.projections.0.clock().now());
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        let place = Place { generation: GenerationId(3), next: Position(1_207) };
        assert_eq!(place.to_string().parse(), Ok(place));
        for wrong in ["", "3", "3-", "-7", "a-1", "3-1-2"] {
            assert_eq!(wrong.parse::<Place>(), Err(InvalidPlace), "{wrong}");
        }
    }
}
