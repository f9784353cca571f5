//! Moves a host from one store to another: every place, checkpoint and document stays what it is.

use bytes::Bytes;

use super::{Change, Direction, DocumentChange, Import, PageLimit, Store, StoreError, Unit};
use crate::clock::Timestamp;
use crate::event::Position;
use crate::limits::read::{LIST_DOCUMENTS_MAX, LIST_STREAMS_MAX, PAGE_BYTES_MAX, PAGE_EVENTS_MAX};
use crate::log::filter::Filter;
use crate::record::GenerationId;

/// Why a copy was not made, or not finished. One that was not finished leaves a store that is not to be
/// used; it is emptied and the copy made again.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("the store to copy to is not empty: its log has {next_position} positions and it has {plugins} plugins")]
    NotEmpty { next_position: Position, plugins: usize },
    #[error("the store to copy from failed")]
    From(#[source] StoreError),
    #[error("the store to copy to failed")]
    To(#[source] StoreError),
    #[error("the store to copy to refused what the other holds: {0}")]
    Refused(String),
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Positions of the log that were looked at, of `positions`.
    pub position: u64,
    pub positions: u64,
    pub events: u64,
    pub streams: u64,
    pub documents: u64,
    pub plugins: u64,
}

/// Copies everything. Neither store may be used by a host meanwhile.
pub async fn copy(
    from: &dyn Store,
    to: &dyn Store,
    mut tell: impl FnMut(&Progress) + Send,
) -> Result<Progress, CopyError> {
    let head = to.head().await.map_err(CopyError::To)?;
    let plugins = to.plugins().await.map_err(CopyError::To)?.len();
    if head.next_position.0 > 0 || plugins > 0 {
        return Err(CopyError::NotEmpty { next_position: head.next_position, plugins });
    }
    let head = from.head().await.map_err(CopyError::From)?;
    let progress = Progress { positions: head.next_position.0, ..Progress::default() };
    let mut copy = Copy { from, to, recorded_at: Timestamp::default(), progress };
    copy.events(&mut tell).await?;
    copy.removed().await?;
    copy.streams(&mut tell).await?;
    copy.configs().await?;
    copy.plugins().await?;
    copy.documents(&mut tell).await?;
    to.import(Import::Head { head, recorded_at: copy.recorded_at }).await.map_err(CopyError::To)?;
    copy.progress.position = copy.progress.positions;
    tell(&copy.progress);
    Ok(copy.progress)
}

struct Copy<'a> {
    from: &'a dyn Store,
    to: &'a dyn Store,
    /// When the newest event was recorded, be it still there or not.
    recorded_at: Timestamp,
    progress: Progress,
}

impl Copy<'_> {
    async fn events(&mut self, tell: &mut impl FnMut(&Progress)) -> Result<(), CopyError> {
        let limit = PageLimit { events: PAGE_EVENTS_MAX, bytes: PAGE_BYTES_MAX };
        let mut next = Some(Position(0));
        while let Some(at) = next {
            let read = self.from.read_log(at, Direction::Forward, &Filter::default(), limit).await;
            let read = read.map_err(CopyError::From)?;
            if let Some(last) = read.events.last() {
                self.progress.position = last.position().0 + 1;
                self.progress.events += read.events.len() as u64;
                self.to.import(Import::Events(read.events)).await.map_err(CopyError::To)?;
            }
            next = read.next;
            tell(&self.progress);
        }
        Ok(())
    }

    async fn removed(&mut self) -> Result<(), CopyError> {
        let mut after = None;
        loop {
            let removed = self.from.removed_events(after, PAGE_EVENTS_MAX).await.map_err(CopyError::From)?;
            let Some(last) = removed.last() else { return Ok(()) };
            after = Some(last.position);
            self.streams_of(removed.iter().map(|event| event.stream.clone())).await?;
            self.to.import(Import::Removed(removed)).await.map_err(CopyError::To)?;
        }
    }

    /// Makes streams that have no events left but are named by removed ones.
    async fn streams_of(&mut self, names: impl Iterator<Item = crate::name::StreamName>) -> Result<(), CopyError> {
        let mut names: Vec<_> = names.collect();
        names.sort_unstable();
        names.dedup();
        let mut infos = Vec::with_capacity(names.len());
        for name in names {
            infos.extend(self.from.stream(&name).await.map_err(CopyError::From)?);
        }
        self.to.import(Import::Streams(infos)).await.map_err(CopyError::To)
    }

    async fn streams(&mut self, tell: &mut impl FnMut(&Progress)) -> Result<(), CopyError> {
        let mut after: Option<String> = None;
        loop {
            let infos = self.from.streams(None, after.as_deref(), LIST_STREAMS_MAX).await.map_err(CopyError::From)?;
            let Some(last) = infos.last() else { return Ok(()) };
            after = Some(last.name.to_string());
            self.progress.streams += infos.len() as u64;
            let newest = infos.iter().map(|info| info.last_recorded_at).max();
            self.recorded_at = self.recorded_at.max(newest.unwrap_or_default());
            self.to.import(Import::Streams(infos)).await.map_err(CopyError::To)?;
            tell(&self.progress);
        }
    }

    async fn configs(&mut self) -> Result<(), CopyError> {
        for record in self.from.stream_configs().await.map_err(CopyError::From)? {
            let (pattern, exact, config) = (record.pattern, record.exact, Some(record.config));
            self.commit(vec![Change::PutStreamConfig { pattern, exact, config }]).await?;
        }
        Ok(())
    }

    async fn plugins(&mut self) -> Result<(), CopyError> {
        let plugins = self.from.plugins().await.map_err(CopyError::From)?;
        let current = |plugin: &str, number: u32| {
            plugins.iter().any(|record| record.name == plugin && record.current.number == number)
        };
        let revisions = self.from.revisions().await.map_err(CopyError::From)?;
        // The one deployed last is the current one.
        let (last, first): (Vec<_>, Vec<_>) =
            revisions.into_iter().partition(|revision| current(&revision.plugin, revision.number));
        for revision in first.into_iter().chain(last) {
            let component = self.from.component(&revision.sha256).await.map_err(CopyError::From)?;
            let component = component.unwrap_or_else(Bytes::new);
            self.commit(vec![Change::Deploy { revision, component }]).await?;
        }
        self.progress.plugins = plugins.len() as u64;
        Ok(())
    }

    async fn documents(&mut self, tell: &mut impl FnMut(&Progress)) -> Result<(), CopyError> {
        let mut generations = vec![GenerationId::HOST];
        for record in self.from.generations().await.map_err(CopyError::From)? {
            generations.push(record.id);
            self.commit(vec![Change::CreateGeneration(record)]).await?;
        }
        for generation in generations {
            for collection in self.from.collections(generation).await.map_err(CopyError::From)? {
                self.collection(generation, &collection, tell).await?;
            }
        }
        Ok(())
    }

    async fn collection(
        &mut self,
        generation: GenerationId,
        collection: &str,
        tell: &mut impl FnMut(&Progress),
    ) -> Result<(), CopyError> {
        let mut after: Option<String> = None;
        loop {
            let page = self.from.scan(generation, collection, "", after.as_deref(), LIST_DOCUMENTS_MAX).await;
            let page = page.map_err(CopyError::From)?;
            after = page.documents.last().map(|document| document.key.clone());
            self.progress.documents += page.documents.len() as u64;
            let change = |document: super::Document| DocumentChange {
                collection: collection.into(),
                key: document.key,
                value: Some(document.value),
            };
            let documents = page.documents.into_iter().map(change).collect();
            self.commit(vec![Change::PutDocuments { generation, documents }]).await?;
            tell(&self.progress);
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), CopyError> {
        let outcomes = self.to.commit(&[Unit::change(changes)], Timestamp::default()).await.map_err(CopyError::To)?;
        match outcomes.into_iter().next() {
            Some(Err(rejection)) => Err(CopyError::Refused(rejection.to_string())),
            _ => Ok(()),
        }
    }
}
