//! Commits of a group: one at a time, and what is owed when it is over.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use super::{Runner, UnderWay, flat};
use crate::clock::Timestamp;
use crate::event::{Event, Offset};
use crate::group::config::CommitStrategy;
use crate::group::{GroupError, copies};
use crate::log::commit::CommitError;
use crate::log_id;
use crate::name::StreamName;
use crate::receipt::Mark;
use crate::store::Committed;

impl Runner {
    pub(super) fn begin_commit(&mut self) {
        if self.under_way.is_some() {
            return;
        }
        let Some((unit, mut committing)) = self.machine.commit() else {
            self.owed.drain(..).for_each(|owed| owed.pay(Ok(())));
            return;
        };
        let committer = self.context.committer.clone();
        let receipts = self.receipts(std::mem::take(&mut committing.read));
        // Receipts first: what is settled was said to be read, and nobody says it again.
        let outcome = tokio::spawn(async move {
            receipts.await?;
            committer.commit(unit).await
        });
        self.under_way = Some(UnderWay { outcome, committing, owed: std::mem::take(&mut self.owed) });
    }

    pub(super) async fn commit_is_over(
        &mut self,
        outcome: Result<Committed, CommitError>,
        now: Timestamp,
        stop: &CancellationToken,
    ) {
        let Some(UnderWay { mut committing, owed, .. }) = self.under_way.take() else { return };
        match outcome {
            Ok(_) => {
                copies::publish(&self.context, &self.machine.record, std::mem::take(&mut committing.copies));
                if self.machine.record.queue {
                    self.trim.something_left(now);
                }
                self.machine.committed(committing, now);
                owed.into_iter().for_each(|owed| owed.pay(Ok(())));
            }
            Err(error) => {
                let (event_id, group) = (log_id::GROUP_NOT_COMMITTED, &self.machine.record.name);
                tracing::warn!(event_id, group, error = crate::tasks::chain(&error), "a group begins anew");
                let error = GroupError::Commit(error);
                owed.into_iter().chain(self.owed.drain(..)).for_each(|owed| owed.pay(Err(&error)));
                self.load_until_it_works(stop).await;
            }
        }
    }

    /// Notes what was acknowledged as read by the group, where its streams want that.
    fn receipts(&self, read: Vec<Event>) -> impl Future<Output = Result<(), CommitError>> + Send + use<> {
        let mut marks: BTreeMap<StreamName, Vec<(Offset, Mark)>> = BTreeMap::new();
        for event in read {
            let stream = StreamName::from_stored(event.stream());
            if self.context.configs.notes_group_receipts(&stream) {
                marks.entry(stream).or_default().push((event.offset(), Mark::Read));
            }
        }
        let (receipts, group) = (self.context.receipts.clone(), self.machine.record.name.clone());
        async move {
            for (stream, marks) in marks {
                let noted = receipts.submit(stream, group.clone(), marks).await;
                let noted = match noted {
                    Ok(noted) => noted.outcome().await,
                    Err(error) => Err(error),
                };
                noted.map_err(CommitError::from)?;
            }
            Ok(())
        }
    }

    /// Commits what was acknowledged, and how far was read.
    pub(super) async fn finish(&mut self) {
        if self.machine.record.config.commit != CommitStrategy::Manual {
            self.machine.settle_all_noted(self.context.clock.now());
        }
        self.machine.release_all();
        self.withdraw().await;
        loop {
            self.begin_commit();
            let Some(UnderWay { outcome, committing, owed }) = self.under_way.take() else { return };
            match flat(outcome.await) {
                Ok(_) => {
                    self.machine.committed(committing, self.context.clock.now());
                    owed.into_iter().for_each(|owed| owed.pay(Ok(())));
                }
                Err(error) => {
                    let error = GroupError::Commit(error);
                    owed.into_iter().for_each(|owed| owed.pay(Err(&error)));
                    return;
                }
            }
        }
    }
}
