//! Hosts and groups to run on.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::faulty::Faulty;
use super::run::GROUP;
use crate::clock::ManualClock;
use crate::group::GroupRecord;
use crate::group::config::{CommitStrategy, DeadLetters, Delivery, GroupConfig, Mode, ParkedKeys, RetryConfig, Start};
use crate::guest::{ComponentError, GuestEngine, GuestModule};
use crate::host::{Host, HostOptions, HostParts};
use crate::metrics::Metrics;
use crate::random::Random;

struct NoEngine;

#[async_trait]
impl GuestEngine for NoEngine {
    async fn cached(&self, _: &str) -> Option<Arc<dyn GuestModule>> {
        None
    }

    async fn compile(&self, _: Bytes) -> Result<Arc<dyn GuestModule>, ComponentError> {
        unreachable!("nothing is deployed")
    }
}

pub(super) async fn make(host: &Host, config: &GroupConfig, queue: bool) {
    if queue {
        let record = GroupRecord { name: GROUP.into(), config: config.clone(), queue, ..GroupRecord::default() };
        assert!(host.groups.put(GROUP, None, &record).await.expect("a queue's group is made"));
    } else {
        host.groups.create(GROUP, config.clone(), Start::First).await.expect("a group is made");
    }
}

pub(super) async fn host_over(store: Arc<Faulty>, clock: &ManualClock) -> Arc<Host> {
    let metrics = Arc::new(Metrics::new().expect("metrics are registered once"));
    let (engine, clock) = (Arc::new(NoEngine), Arc::new(clock.clone()));
    let parts = HostParts { store, engine, clock, metrics, options: HostOptions::default() };
    Host::start(parts).await.expect("the host starts")
}

pub(super) fn config(random: &mut Random) -> GroupConfig {
    let delivery =
        *random.pick(&[Delivery::AtLeastOnce, Delivery::AtLeastOnce, Delivery::ExactlyOnce, Delivery::AtMostOnce]);
    let commits = [CommitStrategy::Each, CommitStrategy::Each, CommitStrategy::Batch, CommitStrategy::Manual];
    let commit = if delivery == Delivery::AtLeastOnce { *random.pick(&commits) } else { CommitStrategy::Each };
    GroupConfig {
        streams: vec!["order-*".into()],
        mode: if random.percent(15) { Mode::Exclusive } else { Mode::Queue },
        delivery,
        commit,
        ack_timeout_ms: Some(*random.pick(&[1_000, 5_000])),
        session_timeout_ms: Some(*random.pick(&[2_000, 10_000])),
        max_deliveries: Some(*random.pick(&[1, 2, 3, 10])),
        retry: RetryConfig { base_ms: Some(*random.pick(&[0, 200])), factor: Some(2), max_ms: Some(1_000) },
        dead_letters: if random.percent(20) { DeadLetters::Drop } else { DeadLetters::Keep },
        parked_keys: if random.percent(40) { ParkedKeys::GoOn } else { ParkedKeys::Follow },
        ..GroupConfig::default()
    }
}
