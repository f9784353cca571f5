//! The newest changes of a read model, for those who follow it.
//!
//! Changes are not stored. They are kept in memory, within bounds, from when somebody follows until a minute
//! after nobody does. Whoever asks for what is no longer there is told so, and reads anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::clock::Timestamp;
use crate::event::Position;
use crate::limits::read as limits;
use crate::store::DocumentChange;

/// What a change occupies beside its key and value.
const OVERHEAD_BYTES: usize = 96;

/// The changes of one generation.
#[derive(Debug, Default)]
pub struct Feed {
    ring: Mutex<Option<Ring>>,
    moved: watch::Sender<u64>,
}

/// Commits without a gap between them.
#[derive(Debug)]
struct Ring {
    /// What was committed before this is not here.
    from: Position,
    /// Everything before this is in the read model.
    next: Position,
    commits: VecDeque<Commit>,
    bytes: usize,
    changes: usize,
    followers: usize,
    /// When the last of them has gone.
    idle_since: Option<Timestamp>,
}

/// What one commit has changed.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    /// Every event before this position is in the read model then.
    pub(super) next: Position,
    pub(super) changes: Arc<[DocumentChange]>,
    bytes: usize,
}

/// What has come since a position.
pub(super) enum News {
    /// The next commit that changed anything.
    Commit(Commit),
    /// Nothing has changed up to here.
    Nothing { next: Position },
    /// It is not known any more.
    Lost { next: Position },
}

impl Feed {
    /// What a commit is about to change, if anybody wants to know; entries of indexes are the host's own.
    pub fn take_note(&self, changes: &[DocumentChange]) -> Option<Vec<DocumentChange>> {
        self.ring().as_ref()?;
        Some(changes.iter().filter(|change| !change.collection.starts_with('$')).cloned().collect())
    }

    /// A commit has moved the read model from `before` to `next`. `None`: it is not known what it has changed.
    pub fn publish(&self, changes: Option<Vec<DocumentChange>>, before: Position, next: Position, now: Timestamp) {
        let mut ring = self.ring();
        let Some(kept) = ring.as_mut() else { return };
        if kept.followers == 0 && now.0 - kept.idle_since.unwrap_or(now).0 >= limits::CHANGES_KEPT_US {
            *ring = None;
            return;
        }
        match changes {
            // It began while the first follower came, who knows only what was before.
            _ if kept.next != before => kept.clear(next),
            None => kept.clear(next),
            Some(changes) => kept.push(changes, next),
        }
        drop(ring);
        self.moved.send_modify(|moved| *moved += 1);
    }

    /// Begins to keep what changes from now on. `next` is where the read model is.
    pub(super) fn follow(&self, next: Position) {
        let mut ring = self.ring();
        let kept = ring.get_or_insert_with(|| Ring::new(next));
        kept.followers += 1;
        kept.idle_since = None;
    }

    pub(super) fn unfollow(&self, now: Timestamp) {
        if let Some(kept) = self.ring().as_mut() {
            kept.followers = kept.followers.saturating_sub(1);
            kept.idle_since = (kept.followers == 0).then_some(now);
        }
    }

    pub(super) fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Where the newest change is.
    pub(super) fn next(&self) -> Option<Position> {
        self.ring().as_ref().map(|kept| kept.next)
    }

    pub(super) fn after(&self, position: Position) -> News {
        let ring = self.ring();
        match ring.as_ref() {
            Some(kept) if position >= kept.from && position <= kept.next => {
                let at = kept.commits.partition_point(|commit| commit.next <= position);
                match kept.commits.get(at) {
                    Some(commit) => News::Commit(commit.clone()),
                    None => News::Nothing { next: kept.next },
                }
            }
            Some(kept) => News::Lost { next: kept.next },
            None => News::Lost { next: position },
        }
    }

    fn ring(&self) -> MutexGuard<'_, Option<Ring>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn new(next: Position) -> Self {
        Self { from: next, next, commits: VecDeque::new(), bytes: 0, changes: 0, followers: 0, idle_since: None }
    }

    fn clear(&mut self, next: Position) {
        let (followers, idle_since) = (self.followers, self.idle_since);
        *self = Self { followers, idle_since, ..Self::new(next) };
    }

    fn push(&mut self, changes: Vec<DocumentChange>, next: Position) {
        self.next = next;
        if changes.is_empty() {
            return;
        }
        let bytes = changes.iter().map(bytes_of).sum::<usize>();
        self.bytes += bytes;
        self.changes += changes.len();
        self.commits.push_back(Commit { next, changes: changes.into(), bytes });
        while self.bytes > limits::CHANGES_BYTES_MAX || self.changes > limits::CHANGES_MAX {
            let Some(oldest) = self.commits.pop_front() else { return };
            self.bytes -= oldest.bytes;
            self.changes -= oldest.changes.len();
            self.from = oldest.next;
        }
    }
}

pub(super) fn bytes_of(change: &DocumentChange) -> usize {
    OVERHEAD_BYTES + change.key.len() + change.value.as_ref().map_or(0, Bytes::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, bytes: usize) -> DocumentChange {
        DocumentChange { collection: "c".into(), key: key.into(), value: Some(vec![b'1'; bytes].into()) }
    }

    /// A commit as the runner makes it.
    fn commit(feed: &Feed, before: u64, next: u64, change: DocumentChange, now: i64) {
        let told = feed.take_note(&[change]);
        feed.publish(told, Position(before), Position(next), Timestamp(now));
    }

    fn after(feed: &Feed, position: u64) -> Result<Option<(u64, String)>, u64> {
        match feed.after(Position(position)) {
            News::Commit(commit) => Ok(Some((commit.next.0, commit.changes[0].key.clone()))),
            News::Nothing { .. } => Ok(None),
            News::Lost { next } => Err(next.0),
        }
    }

    #[test]
    fn what_is_kept_has_no_gap_and_what_is_gone_is_told() {
        let feed = Feed::default();
        commit(&feed, 0, 5, change("before", 1), 0);
        assert_eq!(after(&feed, 0), Err(0), "nobody follows yet");
        feed.follow(Position(5));
        commit(&feed, 5, 7, change("a", 1), 0);
        commit(&feed, 7, 9, change("b", 1), 0);
        assert_eq!(after(&feed, 5), Ok(Some((7, "a".into()))));
        assert_eq!(after(&feed, 7), Ok(Some((9, "b".into()))));
        assert_eq!(after(&feed, 9), Ok(None));
        assert_eq!((after(&feed, 4), after(&feed, 10)), (Err(9), Err(9)), "before the first, and from another life");
        let large = limits::CHANGES_BYTES_MAX / 2;
        commit(&feed, 9, 11, change("large", large), 0);
        commit(&feed, 11, 13, change("larger", large), 0);
        assert_eq!((after(&feed, 9), after(&feed, 11)), (Err(13), Ok(Some((13, "larger".into())))), "it is bounded");
    }

    #[test]
    fn a_commit_that_was_under_way_when_the_first_follower_came_is_told_as_a_gap() {
        let feed = Feed::default();
        let told = feed.take_note(&[change("a", 1)]);
        feed.follow(Position(0));
        feed.publish(told, Position(0), Position(1), Timestamp(0));
        assert_eq!(after(&feed, 0), Err(1));
        // It was over already, and only not reported yet.
        let feed = Feed::default();
        feed.publish(feed.take_note(&[change("a", 1)]), Position(0), Position(1), Timestamp(0));
        feed.follow(Position(0));
        commit(&feed, 1, 2, change("b", 1), 0);
        assert_eq!(after(&feed, 0), Err(2));
    }

    #[test]
    fn it_outlives_its_followers_by_a_minute() {
        let feed = Feed::default();
        feed.follow(Position(0));
        feed.unfollow(Timestamp(10));
        commit(&feed, 0, 1, change("a", 1), 9 + limits::CHANGES_KEPT_US);
        assert_eq!(after(&feed, 0), Ok(Some((1, "a".into()))));
        commit(&feed, 1, 2, change("b", 1), 10 + limits::CHANGES_KEPT_US);
        assert_eq!(feed.next(), None, "and then takes no memory");
    }
}
