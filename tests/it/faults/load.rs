//! Publishers and followers that run while something fails.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;
use wasmill_server::proto::GetLogRequest;

use super::follower::Follower;
use super::publisher::{Published, Publisher, Style};
use super::source::{Batch, endless};
use crate::support::TestHost;
use crate::support::host::PATIENCE;
use crate::support::rng::Rng;

/// A host has so many publishers of its own: two that send one by one, one in bulk.
const PUBLISHERS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    Running,
    /// No new events; what is owed is sent until it is acknowledged.
    Ending,
    /// The host has gone: what is not acknowledged stays so.
    GivenUp,
}

/// What the parts of a load tell each other, and the test.
#[derive(Clone)]
pub struct Signals {
    phase: watch::Receiver<Phase>,
    /// The position at which followers end, once it is known.
    pub end: watch::Receiver<Option<u64>>,
    acknowledged: Arc<watch::Sender<u64>>,
    refused: Arc<watch::Sender<BTreeMap<String, u64>>>,
}

impl Signals {
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Resolves when the load is given up.
    pub async fn given_up(&mut self) {
        let given_up = self.phase.wait_for(|phase| *phase == Phase::GivenUp).await.map(drop);
        given_up.expect("the load outlives its publishers");
    }

    pub fn acknowledged(&self, events: u64) {
        self.acknowledged.send_modify(|count| *count += events);
    }

    pub fn refused(&self, code: &str) {
        self.refused.send_modify(|counts| *counts.entry(code.to_owned()).or_default() += 1);
    }
}

pub struct Load {
    urls: Vec<watch::Sender<String>>,
    phase: watch::Sender<Phase>,
    end: watch::Sender<Option<u64>>,
    signals: Signals,
    /// Each with the number of the host that it talks to.
    publishers: Vec<(usize, JoinHandle<Published>)>,
    followers: Vec<JoinHandle<Vec<Uuid>>>,
}

/// What everyone was told.
pub struct Outcome {
    pub publishers: Vec<(usize, Published)>,
    pub followers: Vec<Vec<Uuid>>,
}

impl Load {
    /// Starts publishers and a follower for each of the hosts.
    pub fn start(hosts: &[&TestHost], rng: &mut Rng) -> Self {
        let mut load = Self::idle(hosts);
        for host in 0..hosts.len() {
            for n in 0..PUBLISHERS {
                let source = endless(host * PUBLISHERS + n, rng.fork());
                if n == 0 {
                    let of_one_stream = source.filter(|batch| batch.0.len() == 1);
                    load.publish(host, Style::Bulk, Box::new(of_one_stream), true);
                } else {
                    load.publish(host, Style::Single, Box::new(source), true);
                }
            }
        }
        load
    }

    /// Only followers.
    pub fn idle(hosts: &[&TestHost]) -> Self {
        let (phase, phases) = watch::channel(Phase::Running);
        let (end, ends) = watch::channel(None);
        let acknowledged = Arc::new(watch::Sender::new(0));
        let signals = Signals { phase: phases, end: ends, acknowledged, refused: Arc::default() };
        let urls: Vec<_> = hosts.iter().map(|host| watch::Sender::new(host.url.clone())).collect();
        let followers = urls.iter().map(|url| {
            let follower = Follower { url: url.subscribe(), signals: signals.clone(), seen: Vec::new() };
            tokio::spawn(follower.run())
        });
        Self { followers: followers.collect(), urls, phase, end, signals, publishers: Vec::new() }
    }

    /// Publishes these events beside the others, to their end, in their order.
    pub fn publish_in_order(&mut self, host: usize, batches: impl Iterator<Item = Batch> + Send + 'static) {
        self.publish(host, Style::Bulk, Box::new(batches), false);
    }

    fn publish(&mut self, host: usize, style: Style, source: Box<dyn Iterator<Item = Batch> + Send>, endless: bool) {
        let (url, signals) = (self.urls[host].subscribe(), self.signals.clone());
        let (owed, published) = Default::default();
        let publisher = Publisher { url, signals, style, source, endless, owed, published };
        self.publishers.push((host, tokio::spawn(publisher.run())));
    }

    /// A host was started again, and is elsewhere.
    pub fn moved(&self, host: usize, to: &TestHost) {
        self.urls[host].send_replace(to.url.clone());
    }

    /// Waits until so many more events are acknowledged.
    pub async fn acknowledges(&self, more: u64) {
        let mut count = self.signals.acknowledged.subscribe();
        let enough = *count.borrow_and_update() + more;
        let waited = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count >= enough)).await.map(drop);
        waited.unwrap_or_else(|_| panic!("{more} more acknowledgements did not come within {PATIENCE:?}: {self}"));
    }

    /// Waits until a publisher is told one of these codes once more.
    pub async fn is_told(&self, codes: &[&str]) {
        let mut counts = self.signals.refused.subscribe();
        let sum = |counts: &BTreeMap<String, u64>| codes.iter().filter_map(|code| counts.get(*code)).sum::<u64>();
        let before = sum(&counts.borrow_and_update());
        let waited = tokio::time::timeout(PATIENCE, counts.wait_for(|counts| sum(counts) > before)).await.map(drop);
        waited.unwrap_or_else(|_| panic!("no publisher was told {codes:?} within {PATIENCE:?}: {self}"));
    }

    /// Ends it well: everything that was sent is acknowledged, and followers have seen it.
    pub async fn finish(self, host: &TestHost) -> Outcome {
        self.phase.send_replace(Phase::Ending);
        let publishers = of_all(self.publishers).await;
        let next = host.log().await.get_log(GetLogRequest {}).await.expect("the host answers").into_inner();
        self.end.send_replace(Some(next.next_position));
        Outcome { publishers, followers: seen(self.followers).await }
    }

    /// Ends it where it is, after the host has gone for good.
    pub async fn give_up(self) -> Outcome {
        self.phase.send_replace(Phase::GivenUp);
        Outcome { publishers: of_all(self.publishers).await, followers: seen(self.followers).await }
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Signals { acknowledged, refused, .. } = &self.signals;
        write!(f, "{} events acknowledged, errors {:?}", *acknowledged.borrow(), refused.borrow())
    }
}

async fn of_all(publishers: Vec<(usize, JoinHandle<Published>)>) -> Vec<(usize, Published)> {
    let mut published = Vec::new();
    for (host, publisher) in publishers {
        let ended = tokio::time::timeout(PATIENCE, publisher).await.expect("a publisher ends in time");
        published.push((host, ended.expect("a publisher does not panic")));
    }
    published
}

async fn seen(followers: Vec<JoinHandle<Vec<Uuid>>>) -> Vec<Vec<Uuid>> {
    let mut seen = Vec::new();
    for follower in followers {
        let ended = tokio::time::timeout(PATIENCE, follower).await.expect("a follower sees the end in time");
        seen.push(ended.expect("a follower does not panic"));
    }
    seen
}
