//! Two hosts on one database. Publishers on both append to streams of their own and to shared ones, with
//! expected offsets, conditions and ids that were sent to the other host before; commits are delayed at
//! random, a third party holds locks now and then, and connections are ended. Readers of several kinds
//! follow on both hosts all the while.

mod publishers;
mod readers;
mod sequence;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::{Connection, Executor, PgConnection};
use uuid::Uuid;
use wasmill_core::clock::SystemClock;
use wasmill_core::event::Event;
use wasmill_core::guest::{ComponentError, GuestEngine, GuestModule};
use wasmill_core::host::{Host, HostOptions, HostParts};
use wasmill_core::log::publish::Append;
use wasmill_core::metrics::Metrics;
use wasmill_core::store::{Appended, Store};

use super::proxy::{Cut, Proxy};
use super::{fresh_url, open, sql};
use crate::postgres::{PostgresOptions, PostgresStore};
use crate::tests::is_long;
use wasmill_core::random::Random;

const PUBLISHERS: u64 = 4;
/// How long a host waits for a lost connection before it says that it does not know.
const RECONNECT_WAIT: Duration = Duration::from_millis(100);
/// Streams that publishers of both hosts append to.
const SHARED: u64 = 3;

/// What the tasks of a campaign share.
struct Campaign {
    seed: u64,
    url: String,
    hosts: [Arc<Host>; 2],
    /// Between each host and the server.
    proxies: Vec<Proxy>,
    /// Whether publishers append single events to streams of their own, nobody holds locks, and no
    /// connection is ended.
    plain: bool,
    stop: AtomicBool,
    /// The last append is answered.
    done: AtomicBool,
    /// A reader has seen what must not be.
    broken: AtomicBool,
    seats: AtomicU64,
    sent: Mutex<Sent>,
}

#[derive(Default)]
struct Sent {
    /// First id, and where the append stands.
    answered: Vec<(u128, Appended)>,
    /// Ids of events that may or may not be in the log.
    unknown: HashSet<Uuid>,
    /// The newest appends, to be sent again.
    newest: Vec<(Append, Appended)>,
    rejected: u64,
    repeated: u64,
    /// Sent in vain, or with an answer that said nothing.
    lost: u64,
    unsure: u64,
}

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

async fn start(store: Arc<dyn Store>) -> Arc<Host> {
    let (engine, metrics) = (Arc::new(NoEngine), Arc::new(Metrics::new().expect("metrics are made")));
    let options = HostOptions::default();
    let parts = HostParts { store, engine, clock: Arc::new(SystemClock), metrics, options };
    Host::start(parts).await.expect("the host starts")
}

/// Each row of the log takes up to 8 ms longer to commit, one in three.
async fn delay_commits(url: &str) {
    sql(
        url,
        "create function delay() returns trigger language plpgsql as $$
        begin
            if random() < 0.3 then perform pg_sleep(random() * 0.008); end if;
            return null;
        end $$",
    )
    .await;
    let each = "create constraint trigger delay after insert on chunk deferrable initially deferred
        for each row execute function delay()";
    sql(url, each).await;
}

impl Campaign {
    async fn new(url: &str, stores: [Arc<dyn Store>; 2], proxies: Vec<Proxy>) -> Arc<Self> {
        let [a, b] = stores;
        let hosts = [start(a).await, start(b).await];
        Arc::new(Self {
            seed: seed(),
            url: url.to_owned(),
            hosts,
            plain: proxies.is_empty(),
            proxies,
            stop: AtomicBool::new(false),
            done: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            seats: AtomicU64::new(0),
            sent: Mutex::default(),
        })
    }

    fn sent(&self) -> std::sync::MutexGuard<'_, Sent> {
        self.sent.lock().expect("nobody panics")
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::SeqCst) || self.broken.load(Ordering::SeqCst)
    }

    /// Runs for a while; the first thing that a reader saw and should not have, if any.
    async fn run(self: &Arc<Self>, time: Duration) -> Result<(), String> {
        let mut readers = readers::spawn(self);
        let publishers: Vec<_> = (0..2 * PUBLISHERS)
            .map(|n| {
                let this = Arc::clone(self);
                tokio::spawn(async move { publishers::publish(&this, n).await })
            })
            .collect();
        let meddler = (!self.plain).then(|| tokio::spawn(meddle(Arc::clone(self))));
        let _ = tokio::time::timeout(time, async {
            while !self.stops() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        if let Some(meddler) = meddler {
            meddler.abort();
            assert!(meddler.await.is_err_and(|end| end.is_cancelled()), "the meddler was there to the end");
        }
        self.stop.store(true, Ordering::SeqCst);
        for publisher in publishers {
            publisher.await.expect("no publisher panics");
        }
        self.done.store(true, Ordering::SeqCst);
        let mut logs = Vec::new();
        let mut failure = None;
        while let Some(read) = readers.join_next().await {
            match read.expect("no reader panics") {
                Ok(log) => logs.extend(log),
                Err(seen) => _ = failure.get_or_insert(seen),
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        assert_eq!(logs.len(), 2, "one reader of each host tells the log");
        assert!(logs[0] == logs[1], "both hosts see the same log");
        self.check_log(&logs[0]);
        Ok(())
    }

    /// The log is what was acknowledged, each event once and where it was answered, and of what is
    /// unknown some.
    fn check_log(&self, log: &[Seen]) {
        let sent = self.sent();
        let places: HashMap<Uuid, &Seen> = log.iter().map(|seen| (seen.id, seen)).collect();
        assert_eq!(places.len(), log.len(), "no event is there twice");
        let mut answered = HashSet::new();
        for (first_id, at) in &sent.answered {
            for n in 0..u64::from(at.count) {
                let id = Uuid::from_u128(first_id + u128::from(n));
                let seen = places.get(&id).unwrap_or_else(|| panic!("{id} was acknowledged at {at:?} and is lost"));
                let place = (at.first_position.0 + n, at.first_offset.0 + n);
                assert_eq!((seen.position, seen.offset), place, "it stands where it was answered");
                answered.insert(id);
            }
        }
        let others = log.iter().filter(|seen| !answered.contains(&seen.id));
        let stray: Vec<_> = others.filter(|seen| !sent.unknown.contains(&seen.id)).collect();
        assert!(stray.is_empty(), "nothing else is there: {stray:?}");
        let mut seats = HashSet::new();
        for seat in log.iter().filter_map(|seen| seen.seat.as_ref()) {
            assert!(seats.insert(seat), "{seat} was claimed twice");
        }
    }

    #[expect(clippy::print_stderr, reason = "whoever runs the campaign wants to know what it did")]
    fn tell(&self) {
        let sent = self.sent();
        let events: u64 = sent.answered.iter().map(|(_, at)| u64::from(at.count)).sum();
        eprintln!(
            "seed {}: {} appends with {events} events acknowledged, {} turned away, {} repeated, {} lost and {} of \
             unknown outcome, which {} events were left with, {} seats",
            self.seed,
            sent.answered.len(),
            sent.rejected,
            sent.repeated,
            sent.lost,
            sent.unsure,
            sent.unknown.len(),
            self.seats.load(Ordering::SeqCst) / publishers::CLAIMS_PER_SEAT,
        );
    }
}

/// What a reader has seen of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    id: Uuid,
    position: u64,
    offset: u64,
    seat: Option<String>,
}

impl Seen {
    fn of(event: &Event) -> Self {
        let seat = event.tags().first().map(|tag| (*tag).to_owned());
        Self { id: event.id(), position: event.position().0, offset: event.offset().0, seat }
    }
}

/// Holds locks for a while; ends a connection now and then, or cuts a host off for longer than it waits.
async fn meddle(campaign: Arc<Campaign>) {
    let mut random = Random::new(campaign.seed ^ 0xdead);
    let mut connection = PgConnection::connect(&campaign.url).await.expect("it connects");
    for n in 1.. {
        let sql = match random.below(3) {
            0 => "begin; select 1 from log_head for update; select pg_sleep(0.015); rollback",
            1 => "begin; select 1 from host for update; select pg_sleep(0.01); rollback",
            _ => "begin; select 1 from stream order by random() limit 2 for update; select pg_sleep(0.02); rollback",
        };
        // Beside writers that wait for one another it may be the one that has to give way.
        if connection.execute(sql).await.is_err() {
            let _ = connection.execute("rollback").await;
        }
        if n % 20 == 0 {
            const END: &str =
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
                and application_name like 'wasmill %' order by random() limit 1";
            connection.execute(END).await.expect("it ends");
        }
        if n % 15 == 0 {
            let proxy = random.pick(&campaign.proxies);
            proxy.refuse(true);
            let cuts = [Cut::BeforeTheRequest, Cut::BeforeTheAnswer];
            proxy.cut(*random.pick(&cuts), 1 + random.below(8) as usize);
            tokio::time::sleep(RECONNECT_WAIT * 2).await;
            proxy.refuse(false);
        }
        tokio::time::sleep(Duration::from_millis(random.below(40))).await;
    }
}

fn seed() -> u64 {
    match std::env::var("WASMILL_SEED") {
        Ok(seed) => seed.parse().expect("WASMILL_SEED is a number"),
        Err(_) => Uuid::new_v4().as_u64_pair().0 >> 32,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hosts_show_one_log_without_gap_repeat_or_late_event() {
    let url = fresh_url().await;
    let mut proxies = Vec::new();
    let mut store = async || {
        let proxy = Proxy::before(&url).await;
        let options = PostgresOptions { reconnect_wait: RECONNECT_WAIT, ..PostgresOptions::at(&proxy.url) };
        proxies.push(proxy);
        Arc::new(PostgresStore::open(options).await.expect("the database opens"))
    };
    let stores: [Arc<dyn Store>; 2] = [store().await, store().await];
    delay_commits(&url).await;
    let campaign = Campaign::new(&url, stores, proxies).await;
    let time = Duration::from_secs(if is_long() { 600 } else { 5 });
    let seen = campaign.run(time).await;
    campaign.tell();
    assert_eq!(seen, Ok(()));
    let (kinds, unsure) = {
        let sent = campaign.sent();
        ([sent.answered.len() as u64 / 50, sent.rejected, sent.repeated, sent.lost], sent.unsure)
    };
    assert!(kinds.iter().all(|count| *count > 0) && (unsure > 0 || !is_long()), "everything has happened");
    for host in &campaign.hosts {
        host.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_takes_positions_from_a_sequence_fails_the_same_test() {
    let url = fresh_url().await;
    let (a, b) = (open(&url).await, open(&url).await);
    delay_commits(&url).await;
    let stores = [Box::pin(sequence::over(a, &url)).await, Box::pin(sequence::over(b, &url)).await];
    let campaign = Campaign::new(&url, stores, Vec::new()).await;
    let seen = campaign.run(Duration::from_secs(60)).await.expect_err("it is found out");
    assert!(seen.contains("gap"), "{seen}");
    for host in &campaign.hosts {
        host.stop().await;
    }
}
