//! Readers of every kind, which follow until the publishers have stopped and all is read.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;
use wasmill_core::event::{Offset, Position};
use wasmill_core::host::Host;
use wasmill_core::log::filter::{Filter, FilterTerm};
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::store::{Direction, PageLimit, StoreError};

use super::{Campaign, Seen};

const PAGE: PageLimit = PageLimit { events: 50, bytes: 1 << 20 };
/// After the last append readers have this long to see it.
const SOON: Duration = Duration::from_secs(20);

/// What was seen that must not be; the log, of those that tell it.
pub(super) type Read = Result<Option<Vec<Seen>>, String>;

/// Of each host: the log, what a filter finds, a stream, and the store itself.
pub(super) fn spawn(campaign: &Arc<Campaign>) -> JoinSet<Read> {
    let mut readers = JoinSet::new();
    for n in 0..2 {
        macro_rules! reader {
            ($follow:ident) => {{
                let campaign = Arc::clone(campaign);
                readers.spawn(async move {
                    let read = $follow(&campaign, &campaign.hosts[n]).await;
                    campaign.broken.fetch_or(read.is_err(), Ordering::SeqCst);
                    read.map_err(|seen| format!("host {n}: {seen}"))
                });
            }};
        }
        reader!(follow_log);
        reader!(follow_matching);
        reader!(follow_stream);
        reader!(follow_store);
    }
    readers
}

/// The end of the log, once nobody appends any more.
async fn end(campaign: &Campaign, host: &Host) -> Option<Position> {
    if !campaign.done.load(Ordering::SeqCst) {
        return None;
    }
    tokio::time::timeout(SOON, async {
        loop {
            match host.store.head().await {
                Ok(head) => return Some(head.next_position),
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    })
    .await
    .expect("the head is read")
}

async fn follow_log(campaign: &Campaign, host: &Host) -> Read {
    let mut follower = host.reader.follow_log(Position(0), Filter::default());
    let mut log = Vec::new();
    loop {
        let end = end(campaign, host).await;
        let page = tokio::time::timeout(Duration::from_millis(200), follower.next_page(PAGE)).await;
        // The connection of a read was ended: it begins anew where it was.
        if let Ok(Ok(page)) = &page {
            for event in &page.events {
                if event.position().0 != log.len() as u64 {
                    return Err(format!("a gap before {}: the log was read up to {}", event.position(), log.len()));
                }
                log.push(Seen::of(event));
            }
        }
        if campaign.broken.load(Ordering::SeqCst) {
            return Ok(None);
        }
        if end.is_some_and(|end| log.len() as u64 >= end.0) {
            return Ok(Some(log));
        }
    }
}

async fn follow_matching(campaign: &Campaign, host: &Host) -> Read {
    let streams = vec![Pattern::new("shared-*").expect("a glob"), Pattern::new("own-1").expect("a glob")];
    let filter = Filter::new(vec![FilterTerm { streams, ..FilterTerm::default() }]);
    let mut follower = host.reader.follow_log(Position(0), filter.clone());
    let mut seen: Vec<u64> = Vec::new();
    loop {
        let end = end(campaign, host).await;
        let page = tokio::time::timeout(Duration::from_millis(200), follower.next_page(PAGE)).await;
        if let Ok(Ok(page)) = &page {
            seen.extend(page.events.iter().map(|event| event.position().0));
        }
        if campaign.broken.load(Ordering::SeqCst) {
            return Ok(None);
        }
        if end.is_some_and(|end| follower.next_position() >= end) {
            break;
        }
    }
    let mut all = Vec::new();
    let mut next = Some(Position(0));
    while let Some(from) = next {
        let read = read_on(host, from, &filter).await?;
        all.extend(read.0);
        next = read.1;
    }
    match seen == all {
        true => Ok(None),
        false => Err(format!("a gap: {} events match, and a follower has seen {}", all.len(), seen.len())),
    }
}

async fn read_on(host: &Host, from: Position, filter: &Filter) -> Result<(Vec<u64>, Option<Position>), String> {
    for _ in 0..100 {
        if let Ok(read) = host.store.read_log(from, Direction::Forward, filter, PAGE).await {
            return Ok((read.events.iter().map(|event| event.position().0).collect(), read.next));
        }
    }
    Err("the store cannot be read".into())
}

async fn follow_stream(campaign: &Campaign, host: &Host) -> Read {
    let stream = StreamName::from_stored(if campaign.plain { "own-0" } else { "shared-0" });
    let mut follower = host.reader.follow_stream(stream.clone(), Offset(0));
    let mut next = 0;
    loop {
        let done = end(campaign, host).await.is_some();
        let page = tokio::time::timeout(Duration::from_millis(200), follower.next_page(PAGE)).await;
        for event in page.into_iter().flatten().flatten() {
            if event.offset().0 != next {
                return Err(format!("a gap in the stream before {}: it was read up to {next}", event.offset()));
            }
            next += 1;
        }
        let info = host.store.stream(&stream).await;
        if done && info.is_ok_and(|info| info.is_none_or(|info| next >= info.next_offset.0)) {
            return Ok(None);
        }
        if campaign.broken.load(Ordering::SeqCst) {
            return Ok(None);
        }
    }
}

/// Sees what is committed before the host has heard of it.
async fn follow_store(campaign: &Campaign, host: &Host) -> Read {
    let mut next = 0;
    loop {
        let end = end(campaign, host).await;
        let read = host.store.read_log(Position(next), Direction::Forward, &Filter::default(), PAGE).await;
        match read {
            Ok(read) => {
                for event in read.events {
                    if event.position().0 != next {
                        return Err(format!(
                            "a gap in the store before {}: it was read up to {next}",
                            event.position()
                        ));
                    }
                    next += 1;
                }
            }
            Err(StoreError::Unavailable(_)) => {}
            Err(error) => return Err(format!("{error:?}")),
        }
        if end.is_some_and(|end| next >= end.0) || campaign.broken.load(Ordering::SeqCst) {
            return Ok(None);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
