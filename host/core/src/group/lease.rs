//! What the store has of a group, and which host leases which of its shares.
//!
//! A host of its own leases them all. Several hosts on one store divide them: each that has members of the
//! group says so in a document, and every second looks what the others say. From the same documents all come
//! to the same division. Who has too much lets go of a share when nothing of it is in anyone's hands; who has
//! too little takes what is nobody's, or what belongs to a host that has not been heard of for the group's
//! session timeout. Two that take the same share at once are told apart by the guard on it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::config::Mode;
use super::context::Stored;
use super::letters;
use super::runner::Runner;
use super::share::{SHARES, Share};
use super::{
    COLLECTION_GROUPS, COLLECTION_INTERESTS, COLLECTION_SHARES, GroupError, GroupRecord, SEPARATOR, document,
    share_key, unit,
};
use crate::clock::Timestamp;
use crate::event::{Event, Position};
use crate::limits::{group as limits, read};
use crate::log::commit::CommitError;
use crate::log::read::ReadError;
use crate::log_id;
use crate::record::GenerationId;
use crate::store::{Guard, Rejection, StoreError};

/// Why a round was not finished; the next one goes on.
#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("the store could not be read")]
    Read(#[from] ReadError),
    #[error("a share could not be committed")]
    Commit(#[from] CommitError),
}

impl From<StoreError> for RoundError {
    fn from(error: StoreError) -> Self {
        RoundError::Read(error.into())
    }
}

impl Runner {
    /// `false` when the host stops.
    pub(super) async fn load_until_it_works(&mut self, stop: &CancellationToken) -> bool {
        loop {
            let error = match self.load().await {
                Ok(()) => return true,
                Err(error) => error,
            };
            let (event_id, group) = (log_id::GROUP_NOT_LOADED, &self.machine.record.name);
            tracing::warn!(event_id, group, error = crate::tasks::chain(&error), "a group cannot be loaded yet");
            tokio::select! {
                () = tokio::time::sleep(limits::LOAD_RETRY) => {}
                () = stop.cancelled() => return false,
            }
        }
    }

    async fn load(&mut self) -> Result<(), ReadError> {
        self.machine.begin_anew();
        let now = self.context.clock.now();
        let group = self.machine.record.name.clone();
        let parked = self.context.parked_keys(&group).await?;
        self.machine.put_parked_keys(parked);
        let shared = self.context.store.is_shared();
        for (number, stored, share) in self.context.stored_shares(&group).await? {
            let is_ours = share.as_ref().is_some_and(|share| share.owner == self.context.host);
            if is_ours || !shared {
                self.lease_share(number, stored, share, now).await?;
            }
        }
        // Among several hosts the rest is settled in rounds.
        self.round_due = shared.then_some(now);
        self.told = self.machine.next_read().unwrap_or_default();
        self.follow_parked(now).await
    }

    /// Events of a key behind a dead letter of it become dead letters too.
    async fn follow_parked(&mut self, now: Timestamp) -> Result<(), ReadError> {
        let group = self.machine.record.name.clone();
        let mut from = Position(0);
        while self.machine.has_events_of_parked_keys() {
            let page = letters::page(&*self.context.store, &group, from, limits::LETTERS_PAGE).await?;
            page.letters.iter().for_each(|letter| self.machine.follow_letter(letter, now));
            let Some(last) = page.letters.last().filter(|_| page.more) else { break };
            from = Position(last.position().0 + 1);
        }
        Ok(())
    }

    /// Leases a share with what the store has of it.
    async fn lease_share(
        &mut self,
        number: usize,
        stored: Option<Bytes>,
        share: Option<Share>,
        now: Timestamp,
    ) -> Result<(), ReadError> {
        self.machine.lease(number, stored, share);
        let pending = self.machine.pending(number);
        if pending.is_empty() {
            return Ok(());
        }
        match self.events_of(&pending).await {
            Ok((events, replayed)) => {
                self.machine.take_in_pending(number, events, &replayed, now);
                Ok(())
            }
            Err(error) => {
                self.machine.forget_share(number);
                Err(error)
            }
        }
    }

    async fn events_of(&self, pending: &[Position]) -> Result<(Vec<Event>, HashMap<Position, Event>), ReadError> {
        let events = self.context.events_at(pending).await?;
        Ok((events, self.context.replayed(&self.machine.record.name, pending).await?))
    }

    /// Looks what the other hosts do, and divides the shares with them. `false` if the group is gone.
    pub(super) async fn round(&mut self, now: Timestamp) -> bool {
        self.round_due = Some(Timestamp(now.0.saturating_add(limits::ROUND_US)));
        match self.divide(now).await {
            Ok(exists) => exists,
            Err(error) => {
                let (event_id, group) = (log_id::GROUP_NOT_LOADED, &self.machine.record.name);
                tracing::warn!(event_id, group, error = crate::tasks::chain(&error), "shares stay as they are");
                true
            }
        }
    }

    async fn divide(&mut self, now: Timestamp) -> Result<bool, RoundError> {
        let group = self.machine.record.name.clone();
        let store = Arc::clone(&self.context.store);
        let Some(record) = store.document(GenerationId::HOST, COLLECTION_GROUPS, &group).await? else {
            return Ok(false);
        };
        if let Ok(record) = serde_json::from_slice::<GroupRecord>(&record)
            && record != self.machine.record
        {
            self.reload(record);
        }
        self.say_whether_interested().await?;
        let shares = self.context.stored_shares(&group).await?;
        let ours = self.our_part(&shares, now).await?;
        for (number, stored, share) in shares {
            let owner = share.as_ref().map_or(Uuid::nil(), |share| share.owner);
            let leased = self.machine.is_leased(number);
            let free = owner.is_nil() || !self.context.hosts.is_alive(owner, self.dead_after(), now);
            if leased && !self.machine.is_as_stored(number, stored.as_ref()) {
                // Someone has taken it, or has changed what is pending in it. What was settled since cannot be
                // committed: who waits for that is told, and the group begins anew.
                let (collection, key) = (COLLECTION_SHARES.into(), share_key(&group, number));
                let error = GroupError::Commit(Rejection::Overtaken { collection, key }.into());
                self.owed.drain(..).for_each(|owed| owed.pay(Err(&error)));
                self.load().await?;
                return Ok(true);
            } else if leased {
                self.machine.set_leaving(number, !ours.contains(&number), now);
                if !ours.contains(&number) && self.machine.is_quiet(number) {
                    self.let_go(number).await?;
                }
            } else if ours.contains(&number) && (owner == self.context.host || free) {
                self.acquire(number, stored, share, now).await?;
            }
        }
        self.follow_parked(now).await?;
        if let Some(next) = self.machine.next_read().filter(|next| *next > self.told) {
            // The other hosts tell from it where the group is.
            self.machine.touch();
            self.told = next;
        }
        Ok(true)
    }

    /// The shares that this host should have: those of an exclusive group stay together, with the host that has
    /// them as long as it has members.
    async fn our_part(&self, shares: &[Stored], now: Timestamp) -> Result<Vec<usize>, StoreError> {
        let prefix = format!("{}{SEPARATOR}", self.machine.record.name);
        let store = &self.context.store;
        let limit = read::LIST_DOCUMENTS_MAX;
        let page = store.scan(GenerationId::HOST, COLLECTION_INTERESTS, &prefix, None, limit).await?;
        let named = page.documents.iter().filter_map(|document| Uuid::try_parse(&document.key[prefix.len()..]).ok());
        let alive = |host: &Uuid| self.context.hosts.is_alive(*host, self.dead_after(), now);
        let hosts: Vec<Uuid> = named.filter(alive).collect();
        if self.machine.record.config.mode == Mode::Exclusive {
            let owners = shares.iter().filter_map(|(_, _, share)| share.as_ref().map(|share| share.owner));
            let holder = owners.into_iter().find(|owner| hosts.contains(owner)).or(hosts.first().copied());
            let ours = holder == Some(self.context.host);
            return Ok(if ours { (0..SHARES).collect() } else { Vec::new() });
        }
        let place = hosts.iter().position(|host| *host == self.context.host);
        Ok(place.map_or_else(Vec::new, |place| (0..SHARES).filter(|share| share % hosts.len() == place).collect()))
    }

    fn dead_after(&self) -> Duration {
        let session = Duration::from_micros(self.machine.record.config.session_timeout_us().unsigned_abs());
        session.clamp(limits::DEAD_AFTER_MIN, limits::DEAD_AFTER_MAX)
    }

    async fn say_whether_interested(&mut self) -> Result<(), CommitError> {
        let interested = self.machine.members().next().is_some();
        if interested != self.interested {
            self.put(COLLECTION_INTERESTS, self.interest(), interested.then(|| Bytes::from_static(b"1"))).await?;
            self.interested = interested;
        }
        Ok(())
    }

    fn interest(&self) -> String {
        format!("{}{SEPARATOR}{}", self.machine.record.name, self.context.host)
    }

    /// The others need not wait until this host is taken for dead.
    pub(super) async fn withdraw(&mut self) {
        if self.interested {
            let _ = self.put(COLLECTION_INTERESTS, self.interest(), None).await;
        }
    }

    async fn put(&self, collection: &str, key: String, value: Option<Bytes>) -> Result<(), CommitError> {
        self.context.committer.commit(unit(Vec::new(), vec![document(collection, key, value)])).await.map(|_| ())
    }

    /// Makes a share this host's. Nothing of it is handed out before that is durable.
    async fn acquire(
        &mut self,
        number: usize,
        stored: Option<Bytes>,
        share: Option<Share>,
        now: Timestamp,
    ) -> Result<(), RoundError> {
        let start = self.machine.record.start();
        let resets = self.machine.record.resets;
        let share = share.unwrap_or(Share { next: start, resets, ..Share::default() });
        let share = Share { owner: self.context.host, ..share };
        match self.replace(number, stored, &share).await {
            Ok(stored) => Ok(self.lease_share(number, Some(stored), Some(share), now).await?),
            // Another host was faster.
            Err(CommitError::Rejected(Rejection::Overtaken { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn let_go(&mut self, number: usize) -> Result<(), RoundError> {
        if let Some((stored, share)) = self.machine.as_nobodys(number) {
            self.machine.forget_share(number);
            match self.replace(number, stored, &share).await {
                Ok(_) | Err(CommitError::Rejected(Rejection::Overtaken { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn replace(&self, number: usize, stored: Option<Bytes>, share: &Share) -> Result<Bytes, CommitError> {
        let (key, value) = (share_key(&self.machine.record.name, number), share.encode());
        let guards = vec![Guard { collection: COLLECTION_SHARES.into(), key: key.clone(), value: stored }];
        let documents = vec![document(COLLECTION_SHARES, key, Some(value.clone()))];
        self.context.committer.commit(unit(guards, documents)).await?;
        Ok(value)
    }
}
