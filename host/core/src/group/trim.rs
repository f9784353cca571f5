//! Takes settled messages of a queue out of the log.

use tokio::task::JoinHandle;

use super::config::GroupRecord;
use super::context::Context;
use super::share::Share;
use crate::clock::Timestamp;
use crate::event::Event;
use crate::limits::group as limits;
use crate::log_id;
use crate::name::StreamName;
use crate::store::{Direction, Expected, PageLimit};

/// When a queue is trimmed next, and the trimming that runs.
#[derive(Debug, Default)]
pub(super) struct Trim {
    pub(super) due: Option<Timestamp>,
    running: Option<JoinHandle<()>>,
}

impl Trim {
    pub(super) fn something_left(&mut self, now: Timestamp) {
        self.due.get_or_insert(Timestamp(now.0.saturating_add(limits::TRIM_AFTER_US)));
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// In a task of its own: members need not wait for it. What it does not come to, the next one does.
    pub(super) fn run_if_due(&mut self, context: &Context, record: &GroupRecord, now: Timestamp) {
        if !self.is_due(now) {
            return;
        }
        self.due = None;
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            self.something_left(now);
            return;
        }
        let (context, record) = (context.clone(), record.clone());
        self.running = Some(tokio::spawn(async move {
            if let Err(error) = trim(&context, &record).await {
                let (event_id, group) = (log_id::QUEUE_NOT_TRIMMED, &record.name);
                tracing::warn!(event_id, group, error = crate::tasks::chain(&*error), "a queue keeps what is settled");
            }
        }));
    }
}

/// Removes what is settled in every share, as the store knows it.
async fn trim(context: &Context, record: &GroupRecord) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Some(stream) = record.config.only_stream().and_then(|stream| StreamName::new(stream).ok()) else {
        return Ok(());
    };
    let shares = context.stored_shares(&record.name).await?;
    let floors = shares.iter().map(|(_, _, share)| share.as_ref().map_or(record.start(), Share::floor));
    let floor = floors.min().unwrap_or_default();
    // Before the log is looked at: what comes later is not known to be settled.
    let end = context.reader.stream(&stream).await?.next_offset;
    let one = PageLimit { events: 1, bytes: 1 };
    let page = context.reader.log_page(floor, Direction::Forward, &record.config.filter()?, one).await?;
    let before = match page.events.first().map(Event::offset) {
        Some(offset) => offset,
        // It has looked at all that there is.
        None if page.end => end,
        None => return Ok(()),
    };
    context.streams.truncate_before(&stream, before, Expected::Any).await?;
    Ok(())
}
