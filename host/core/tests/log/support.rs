//! A host over the memory store whose time is the test's, and which runs no plugins.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;
use wasmill_core::clock::{ManualClock, Timestamp};
use wasmill_core::event::{Event, NewEvent, Position};
use wasmill_core::guest::{ComponentError, GuestEngine, GuestModule};
use wasmill_core::host::{Host, HostOptions, HostParts};
use wasmill_core::log::filter::Filter;
use wasmill_core::log::publish::Append;
use wasmill_core::metrics::Metrics;
use wasmill_core::name::StreamName;
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::store::{Direction, PageLimit, Store};

pub(crate) const PAGE: PageLimit = PageLimit { events: 1_000, bytes: 1 << 20 };
pub(crate) const DAY_US: i64 = 86_400_000_000;

struct NoEngine;

#[async_trait]
impl GuestEngine for NoEngine {
    async fn cached(&self, _: &str) -> Option<Arc<dyn GuestModule>> {
        None
    }

    async fn compile(&self, _: Bytes) -> Result<Arc<dyn GuestModule>, ComponentError> {
        unreachable!("these tests deploy nothing")
    }
}

pub(crate) struct TestHost {
    pub(crate) host: Arc<Host>,
    pub(crate) clock: ManualClock,
}

pub(crate) async fn host() -> TestHost {
    host_over(Arc::new(MemoryStore::default())).await
}

pub(crate) async fn host_over(store: Arc<dyn Store>) -> TestHost {
    host_with(store, HostOptions::default()).await
}

pub(crate) async fn host_with(store: Arc<dyn Store>, options: HostOptions) -> TestHost {
    start(store, options, Timestamp(1_000 * DAY_US)).await
}

pub(crate) async fn host_later(store: Arc<dyn Store>, now: Timestamp) -> TestHost {
    start(store, HostOptions::default(), now).await
}

async fn start(store: Arc<dyn Store>, options: HostOptions, now: Timestamp) -> TestHost {
    let clock = ManualClock::at(now);
    let (engine, metrics) = (Arc::new(NoEngine), Arc::new(Metrics::new().unwrap()));
    let parts = HostParts { store, engine, clock: Arc::new(clock.clone()), metrics, options };
    TestHost { host: Host::start(parts).await.unwrap(), clock }
}

impl TestHost {
    /// Everything that a reader of the whole log gets.
    pub(crate) async fn log(&self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut from = Position(0);
        loop {
            let page = self.host.reader.log_page(from, Direction::Forward, &Filter::default(), PAGE).await.unwrap();
            events.extend(page.events);
            if page.end {
                return events;
            }
            from = page.next.unwrap();
        }
    }
}

pub(crate) fn event(id: u128) -> NewEvent {
    let data = Bytes::from_static(b"{}");
    NewEvent { id: Uuid::from_u128(id), event_type: "t".into(), data, ..NewEvent::default() }
}

/// `count` events of new ids.
pub(crate) fn append(stream: &str, count: usize) -> Append {
    let events = (0..count).map(|_| event(Uuid::now_v7().as_u128())).collect();
    Append { stream: stream.into(), events, ..Append::default() }
}

pub(crate) fn name(stream: &str) -> StreamName {
    StreamName::new(stream).unwrap()
}

/// Numbers that a seed repeats: SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}
