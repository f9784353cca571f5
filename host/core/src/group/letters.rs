//! Dead letters: listing them, handing them in again, removing them.

use std::collections::HashSet;

use bytes::Bytes;

use super::config::{GroupRecord, ParkedKeys};
use super::dead_letter::DeadLetter;
use super::lanes::Lanes;
use super::machine::key_of;
use super::manage::{Groups, TRIES_MAX};
use super::share::{Share, share_of};
use super::{
    COLLECTION_DEAD_LETTERS, COLLECTION_PARKED_KEYS, COLLECTION_REPLAYED, COLLECTION_SHARES, Command, GroupError,
    SEPARATOR, ask, document, parked_key, share_key,
};
use crate::code::{Code, Problem};
use crate::event::Position;
use crate::limits::group as limits;
use crate::log::commit::CommitError;
use crate::record::GenerationId;
use crate::store::{Guard, Rejection, Store, StoreError};
use crate::wire::WireError;

/// A page of a group's dead letters, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Letters {
    pub letters: Vec<DeadLetter>,
    pub more: bool,
}

/// Which dead letters are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    /// Those of a key.
    Key(String),
    Positions(Vec<Position>),
}

/// Why dead letters were not replayed or removed.
#[derive(Debug, thiserror::Error)]
pub enum LetterError {
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error("group `{group}` has no dead letter of position {position}")]
    NotFound { group: String, position: Position },
    #[error(
        "the dead letter of position {position} has an earlier one of its key, at position {earlier}: replay that one \
         first, or all of the key"
    )]
    OutOfOrder { position: Position, earlier: Position },
}

impl From<LetterError> for Problem {
    fn from(error: LetterError) -> Self {
        let text = error.to_string();
        match error {
            LetterError::Group(group) => group.into(),
            LetterError::NotFound { .. } => Problem::new(Code::DeadLetterNotFound, text),
            LetterError::OutOfOrder { .. } => Problem::new(Code::DeadLetterOrder, text),
        }
    }
}

impl Groups {
    /// Dead letters from position `from` on, at most `limit` of them.
    pub async fn dead_letters(&self, group: &str, from: Position, limit: usize) -> Result<Letters, GroupError> {
        let mut page = self.stored_letters(group, from, limit).await?;
        let events = page.letters.iter().map(|letter| letter.event.clone()).collect();
        let events = self.0.context.reader.lift(events).await;
        for (letter, event) in page.letters.iter_mut().zip(events) {
            letter.event = event;
        }
        Ok(page)
    }

    /// The same with events as they were published.
    pub(crate) async fn stored_letters(
        &self,
        group: &str,
        from: Position,
        limit: usize,
    ) -> Result<Letters, GroupError> {
        self.record(group).await?;
        let limit = limit.clamp(1, limits::LETTERS_PAGE);
        page(&*self.0.context.store, group, from, limit).await.map_err(GroupError::store)
    }

    /// How many there are.
    pub async fn count_dead_letters(&self, group: &str) -> Result<u64, GroupError> {
        let prefix = format!("{group}{SEPARATOR}");
        let count = self.0.context.store.count(GenerationId::HOST, COLLECTION_DEAD_LETTERS, &prefix).await;
        count.map_err(GroupError::store)
    }

    pub async fn dead_letter(&self, group: &str, position: Position) -> Result<DeadLetter, LetterError> {
        let page = self.dead_letters(group, position, 1).await?;
        let letter = page.letters.into_iter().next().filter(|letter| letter.position() == position);
        letter.ok_or_else(|| LetterError::NotFound { group: group.to_owned(), position })
    }

    /// Hands dead letters to the group again, those of a key in their order; how many. An event's attempts are
    /// counted anew.
    pub async fn replay(&self, group: &str, which: &Which) -> Result<usize, LetterError> {
        self.settle_letters(group, which, true).await
    }

    /// Removes dead letters; how many.
    pub async fn purge(&self, group: &str, which: &Which) -> Result<usize, LetterError> {
        self.settle_letters(group, which, false).await
    }

    async fn settle_letters(&self, group: &str, which: &Which, replay: bool) -> Result<usize, LetterError> {
        let record = self.record(group).await?;
        if let Which::Positions(positions) = which {
            self.check_positions(&record, positions, replay).await?;
        }
        let (mut from, mut count) = (Position(0), 0);
        // Each page is one command, and so one commit. What is parked again meanwhile comes later or not at all.
        loop {
            let page = self.stored_letters(group, from, limits::LETTERS_PAGE).await?;
            let Some(last) = page.letters.last() else { return Ok(count) };
            from = Position(last.position().0 + 1);
            let meant = |letter: &DeadLetter| match which {
                Which::All => true,
                Which::Key(key) => key_of(&letter.event, record.queue).as_deref() == Some(key),
                Which::Positions(positions) => positions.contains(&letter.position()),
            };
            let letters: Vec<DeadLetter> = page.letters.into_iter().filter(meant).collect();
            if !letters.is_empty() {
                count += letters.len();
                for letter in self.settle_here(group, letters, replay).await? {
                    self.settle_elsewhere(&record, &letter, replay).await?;
                }
            }
            if !page.more {
                return Ok(count);
            }
        }
    }

    /// Settles those of shares that this host leases, and answers the others.
    async fn settle_here(
        &self,
        group: &str,
        letters: Vec<DeadLetter>,
        replay: bool,
    ) -> Result<Vec<DeadLetter>, GroupError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (commands, letters) = (self.commands(group).await?, letters.clone());
            match ask(&commands, |reply| Command::Letters { letters, replay, reply }).await {
                // Another host has changed a share; the group has begun anew with what there is now.
                Err(GroupError::Commit(CommitError::Rejected(Rejection::Overtaken { .. }))) if tries < TRIES_MAX => {}
                other => return other,
            }
        }
    }

    /// Settles a dead letter of a share that another host leases, or nobody: what is stored is changed, and the
    /// owner notices that with its next round or commit.
    async fn settle_elsewhere(
        &self,
        record: &GroupRecord,
        letter: &DeadLetter,
        replay: bool,
    ) -> Result<(), GroupError> {
        let (group, position) = (record.name.as_str(), letter.position());
        let (slot, key) = Lanes::slot(&letter.event, record.queue);
        let number = share_of(slot);
        let store = &self.0.context.store;
        let stored_in = async |collection: &str, key: &str| store.document(GenerationId::HOST, collection, key).await;
        for _ in 0..TRIES_MAX {
            let place = share_key(group, number);
            let stored = stored_in(COLLECTION_SHARES, &place).await.map_err(GroupError::store)?;
            let share = stored.as_deref().map(Share::decode).transpose();
            let mut share = share.map_err(|error| damaged(group, &error))?.unwrap_or_else(|| Share {
                next: record.start(),
                resets: record.resets,
                ..Share::default()
            });
            share.edits += 1;
            let letter_key = DeadLetter::key(group, position);
            let mut documents = vec![
                document(COLLECTION_SHARES, place.clone(), Some(share_with(&mut share, replay, position))),
                document(COLLECTION_DEAD_LETTERS, letter_key.clone(), None),
            ];
            if replay {
                documents.push(document(COLLECTION_REPLAYED, letter_key, Some(letter.event.raw().clone())));
            }
            if let Some(key) = key.filter(|_| letter.why.parks(record.resets)) {
                let place = parked_key(group, key);
                let count = stored_in(COLLECTION_PARKED_KEYS, &place).await.map_err(GroupError::store)?;
                let count: u64 = count.and_then(|count| std::str::from_utf8(&count).ok()?.parse().ok()).unwrap_or(1);
                let left = (count > 1).then(|| Bytes::from((count - 1).to_string()));
                documents.push(document(COLLECTION_PARKED_KEYS, place, left));
            }
            let guards = vec![Guard { collection: COLLECTION_SHARES.into(), key: place, value: stored }];
            match self.commit(guards, documents).await {
                Err(GroupError::Commit(CommitError::Rejected(Rejection::Overtaken { .. }))) => {}
                other => return other,
            }
        }
        Err(GroupError::Commit(CommitError::Overloaded))
    }

    /// All of them are there, and none is behind one of its key that is not meant.
    async fn check_positions(
        &self,
        record: &GroupRecord,
        positions: &[Position],
        replay: bool,
    ) -> Result<(), LetterError> {
        let group = record.name.as_str();
        let in_order = replay && record.config.parked_keys == ParkedKeys::Follow;
        for position in positions {
            self.dead_letter(group, *position).await?;
        }
        let Some(last) = positions.iter().max().filter(|_| in_order) else { return Ok(()) };
        let mut left_out: HashSet<(String, Position)> = HashSet::new();
        let mut from = Position(0);
        while from <= *last {
            let page = self.stored_letters(group, from, limits::LETTERS_PAGE).await?;
            let Some(newest) = page.letters.last() else { return Ok(()) };
            from = Position(newest.position().0 + 1);
            for letter in page.letters {
                let (position, Some(key)) = (letter.position(), key_of(&letter.event, record.queue)) else { continue };
                if !positions.contains(&position) {
                    left_out.insert((key, position));
                } else if let Some((_, earlier)) = left_out.iter().find(|(other, _)| *other == key) {
                    return Err(LetterError::OutOfOrder { position, earlier: *earlier });
                }
            }
        }
        Ok(())
    }
}

/// Dead letters from position `from` on.
pub(super) async fn page(store: &dyn Store, group: &str, from: Position, limit: usize) -> Result<Letters, StoreError> {
    let prefix = format!("{group}{SEPARATOR}");
    let after = from.0.checked_sub(1).map(|before| DeadLetter::key(group, Position(before)));
    let page = store.scan(GenerationId::HOST, COLLECTION_DEAD_LETTERS, &prefix, after.as_deref(), limit).await?;
    let decoded = page.documents.iter().map(|document| DeadLetter::decode(&document.value));
    let letters = decoded.collect::<Result<Vec<_>, _>>();
    let damaged = |error| StoreError::Damaged { what: format!("a dead letter of group `{group}`: {error}") };
    Ok(Letters { letters: letters.map_err(damaged)?, more: page.more })
}

fn share_with(share: &mut Share, replay: bool, position: Position) -> Bytes {
    if replay {
        share.takes_back(position);
    }
    share.encode()
}

fn damaged(group: &str, error: &WireError) -> GroupError {
    GroupError::store(StoreError::Damaged { what: format!("group `{group}`: {error}") })
}
