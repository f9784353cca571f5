//! Handing events of the past out once more, for a replay.

use super::dead_letter::DeadLetter;
use super::lanes::Lanes;
use super::manage::{Groups, TRIES_MAX};
use super::share::{Share, share_of};
use super::{Again, COLLECTION_DEAD_LETTERS, COLLECTION_SHARES, Command, GroupError, ask, document, share_key};
use crate::event::Event;
use crate::limits::group as limits;
use crate::log::commit::CommitError;
use crate::own::{self, guard};
use crate::store::{DocumentChange, Rejection};

impl Groups {
    /// Hands events to a group that it has settled, and stores `progress` with that. `false` if it has enough to
    /// do; then nothing was done. Those that wait or are with someone stay as they are, as do dead letters, and
    /// what the group has not come to.
    ///
    /// With members on several hosts, a host that dies in between may hand some of the events in twice.
    pub(crate) async fn again(
        &self,
        group: &str,
        mut events: Vec<Event>,
        progress: DocumentChange,
    ) -> Result<bool, GroupError> {
        let context = &self.0.context;
        let letters: Vec<String> = events.iter().map(|event| DeadLetter::key(group, event.position())).collect();
        let letters = own::read_many(&*context.store, COLLECTION_DEAD_LETTERS, &letters).await;
        let mut is_letter = letters.map_err(GroupError::store)?.into_iter().map(|letter| letter.is_some());
        events.retain(|_| !is_letter.next().unwrap_or_default());
        if self.has_enough_elsewhere(group).await? {
            return Ok(false);
        }
        let commands = self.commands(group).await?;
        let change = progress.clone();
        match ask(&commands, |reply| Command::Again { events, progress: change, reply }).await? {
            Again::Taken => Ok(true),
            Again::Full => Ok(false),
            Again::Elsewhere(events) => self.again_elsewhere(group, &events, progress).await.map(|()| true),
        }
    }

    /// Whether the shares have more open than is good, as the store knows them.
    async fn has_enough_elsewhere(&self, group: &str) -> Result<bool, GroupError> {
        let shares = self.0.context.stored_shares(group).await.map_err(GroupError::store)?;
        let open: usize = shares.iter().flat_map(|(_, _, share)| share).map(|share| share.pending.len()).sum();
        Ok(open >= limits::AGAIN_EVENTS_MAX)
    }

    /// Changes what is stored of shares that another host leases, or nobody; the owner notices that.
    async fn again_elsewhere(&self, group: &str, events: &[Event], progress: DocumentChange) -> Result<(), GroupError> {
        for _ in 0..TRIES_MAX {
            let record = self.record(group).await?;
            let shares = self.0.context.stored_shares(group).await.map_err(GroupError::store)?;
            let (mut guards, mut documents) = (Vec::new(), vec![progress.clone()]);
            for (number, stored, share) in shares {
                let own = events.iter().filter(|event| share_of(Lanes::slot(event, record.queue).0) == number);
                let fresh = || Share { next: record.start(), resets: record.resets, ..Share::default() };
                let mut share = share.unwrap_or_else(fresh);
                let taken = own.filter(|event| share.takes_back(event.position())).count();
                if taken > 0 {
                    share.edits += 1;
                    let place = share_key(group, number);
                    guards.push(guard(COLLECTION_SHARES, place.clone(), stored));
                    documents.push(document(COLLECTION_SHARES, place, Some(share.encode())));
                }
            }
            match self.commit(guards, documents).await {
                Err(GroupError::Commit(CommitError::Rejected(Rejection::Overtaken { .. }))) => {}
                other => return other,
            }
        }
        Err(GroupError::Commit(CommitError::Overloaded))
    }
}
