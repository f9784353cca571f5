//! Consumer groups over the real gRPC port, with workers and hosts that are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};
use wasmill_server::proto::consume_request::Kind as Ask;
use wasmill_server::proto::consume_response::Kind as Said;
use wasmill_server::proto::group_service_client::GroupServiceClient;
use wasmill_server::proto::log_service_client::LogServiceClient;
use wasmill_server::proto::{
    AppendRequest, ConsumeAck, ConsumeNack, ConsumeOpen, ConsumeRequest, CreateGroupRequest, GetGroupRequest, Group,
    NewEvent, Outcome, Refusal, refusal,
};
use wasmill_test_postgres::Postgres;

use crate::support::TestHost;
use crate::support::host::PATIENCE;
use crate::support::long;
use crate::support::rng::Rng;

const GROUP: &str = "workers";
const KEYS: u64 = 40;
/// The least that a group takes: what a dead worker had comes back soon.
const CONFIG: &str =
    r#"{"streams":["order-*"],"sessionTimeoutMs":3000,"retry":{"baseMs":10,"maxMs":50},"maxDeliveries":1000}"#;

/// What was published, handed out and acknowledged, as the workers know it.
#[derive(Default)]
struct Ledger {
    keys: BTreeMap<u64, String>,
    /// Told to be durable.
    acked: BTreeSet<u64>,
    /// Acknowledged, but not answered yet, or never.
    asked: BTreeSet<u64>,
    /// With which worker, and by which host.
    in_hand: BTreeMap<u64, (usize, String)>,
    dead: BTreeSet<String>,
    deliveries: u64,
}

impl Ledger {
    fn handed(&mut self, worker: usize, host: &str, position: u64) {
        self.deliveries += 1;
        assert!(!self.acked.contains(&position), "{position} was acknowledged and is handed out again");
        let other = self.in_hand.insert(position, (worker, host.to_owned()));
        let other = other.filter(|(_, host)| !self.dead.contains(host));
        assert!(other.is_none(), "{position} is with two workers");
        self.asked.remove(&position);
        // Whoever publishes may not know yet where it stands.
        let Some(key) = self.keys.get(&position) else { return };
        for (earlier, _) in self.keys.range(..position).filter(|(_, other)| *other == key) {
            let settled = self.acked.contains(earlier) || self.asked.contains(earlier);
            let with_me = self.in_hand.get(earlier).is_some_and(|(holder, _)| *holder == worker);
            assert!(settled || with_me, "{position} overtakes {earlier} of `{key}`");
        }
    }

    fn is_over(&self) -> bool {
        self.keys.keys().all(|position| self.acked.contains(position) || self.asked.contains(position))
    }
}

type Shared = Arc<Mutex<Ledger>>;
type Place = watch::Receiver<String>;

async fn connect(place: &mut Place) -> (Channel, String) {
    loop {
        let url = place.borrow_and_update().clone();
        if let Ok(channel) = Endpoint::from_shared(url.clone()).expect("a URL").connect().await {
            return (channel, url);
        }
        // Another host will be there soon, or this one is about to be.
        let _ = tokio::time::timeout(Duration::from_millis(50), place.changed()).await;
    }
}

/// Works until it is aborted: takes, refuses some, acknowledges the others, and goes away now and then.
async fn work(number: usize, mut place: Place, ledger: Shared, mut rng: Rng) {
    loop {
        let (channel, host) = connect(&mut place).await;
        // Another host is there soon if it was this one that died.
        let _ = one_call(number, channel, &host, &ledger, &mut rng).await;
    }
}

async fn one_call(
    number: usize,
    channel: Channel,
    host: &str,
    ledger: &Shared,
    rng: &mut Rng,
) -> Result<(), tonic::Status> {
    let (requests, mut receiver) = mpsc::channel(64);
    let receiver = futures_util::stream::poll_fn(move |context| receiver.poll_recv(context));
    let ask = |kind| ConsumeRequest { kind: Some(kind) };
    let gone = |_| tonic::Status::cancelled("the call has ended");
    let open = ConsumeOpen { group: GROUP.into(), member: format!("worker-{number}"), credit: 20 };
    requests.send(ask(Ask::Open(open))).await.map_err(gone)?;
    let mut said = GroupServiceClient::new(channel).consume(receiver).await?.into_inner();
    let mut asked: Vec<Vec<u64>> = Vec::new();
    let outcome = async {
        while let Some(message) = said.message().await? {
            match message.kind {
                Some(Said::Deliveries(deliveries)) => {
                    let mut taken = Vec::new();
                    for delivery in deliveries.deliveries {
                        let event = delivery.event.expect("an event").into_event().expect("an event");
                        let position = event.position().0;
                        ledger.lock().expect("no panic").handed(number, host, position);
                        taken.push((delivery.token, position));
                    }
                    if rng.below(40) == 0 {
                        // It dies with all that it has.
                        return Ok(());
                    }
                    let back = if rng.below(6) == 0 { rng.below(taken.len() as u64) as usize } else { taken.len() };
                    // What is refused voids what stands behind it, so it goes back whole, from its end on.
                    let refused = taken.split_off(back);
                    let tokens = refused.iter().rev().map(|(token, _)| *token).collect();
                    for (_, position) in &refused {
                        ledger.lock().expect("no panic").in_hand.remove(position);
                    }
                    let count = (refused.len() + taken.len()) as u32;
                    if !refused.is_empty() {
                        let retry = Some(Refusal { kind: Some(refusal::Kind::Retry("not now".into())) });
                        requests.send(ask(Ask::Nack(ConsumeNack { tokens, refusal: retry }))).await.map_err(gone)?;
                        asked.push(Vec::new());
                    }
                    if !taken.is_empty() {
                        let tokens = taken.iter().map(|(token, _)| *token).collect();
                        let positions: Vec<u64> = taken.iter().map(|(_, position)| *position).collect();
                        {
                            let mut ledger = ledger.lock().expect("no panic");
                            ledger.in_hand.retain(|position, _| !positions.contains(position));
                            ledger.asked.extend(&positions);
                        }
                        asked.push(positions);
                        requests.send(ask(Ask::Ack(ConsumeAck { tokens }))).await.map_err(gone)?;
                    }
                    requests.send(ask(Ask::Credit(count))).await.map_err(gone)?;
                }
                Some(Said::Settled(settled)) => {
                    let positions = asked.remove(0);
                    let mut ledger = ledger.lock().expect("no panic");
                    for (position, outcome) in positions.into_iter().zip(settled.outcomes) {
                        let was_asked = ledger.asked.remove(&position);
                        if outcome == Outcome::Durable as i32 {
                            assert!(was_asked, "{position} was handed to someone else, and yet is acknowledged");
                            assert!(ledger.acked.insert(position), "{position} is acknowledged twice");
                        }
                    }
                }
                Some(Said::Opened(_)) | None => {}
            }
        }
        Ok(())
    };
    let outcome: Result<(), tonic::Status> = outcome.await;
    // Before the call is dropped: from then on others get what it had.
    ledger.lock().expect("no panic").in_hand.retain(|_, (worker, _)| *worker != number);
    outcome
}

/// Publishes keyed events one after the other; what is not answered is published again under its id.
async fn publish(count: u64, mut place: Place, ledger: Shared) {
    let mut log = LogServiceClient::new(connect(&mut place).await.0);
    for n in 0..count {
        let key = format!("k{}", n * 7 % KEYS);
        let event = NewEvent {
            id: uuid::Uuid::now_v7().to_string(),
            r#type: "placed".into(),
            key: Some(key.clone()),
            data: "{}".into(),
            ..NewEvent::default()
        };
        let stream = format!("order-{}", n % 3);
        loop {
            let events = vec![event.clone()];
            let append = AppendRequest { stream: stream.clone(), events, ..AppendRequest::default() };
            match log.append(append).await {
                Ok(appended) => {
                    let position = appended.into_inner().first_position;
                    ledger.lock().expect("no panic").keys.insert(position, key);
                    break;
                }
                Err(_) => log = LogServiceClient::new(connect(&mut place).await.0),
            }
        }
    }
}

async fn group(host: &TestHost) -> Group {
    let request = GetGroupRequest { name: GROUP.into() };
    let mut client = GroupServiceClient::new(host.channel().await);
    client.get_group(request).await.expect("it is there").into_inner().group.expect("a group")
}

async fn create(host: &TestHost) {
    let request = CreateGroupRequest { name: GROUP.into(), config_json: CONFIG.into(), start: None };
    let created = GroupServiceClient::new(host.channel().await).create_group(request).await.expect("it is made");
    assert!(created.into_inner().created);
}

/// Waits until every event was handled, as the workers and as the host see it.
async fn all_handled(host: &TestHost, events: u64, ledger: &Shared, workers: &mut JoinSet<()>) {
    let over = async {
        loop {
            let status = group(host).await;
            if ledger.lock().expect("no panic").is_over() && (status.unsettled, status.position) == (0, events) {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
                // A worker ends only by a claim that does not hold.
                Some(ended) = workers.join_next() => ended.expect("no worker saw anything wrong"),
            }
        }
    };
    tokio::time::timeout(PATIENCE * 4, over).await.expect("every event is handled in time");
}

/// Waits until so many events more are handled.
async fn handles(ledger: &Shared, more: usize, workers: &mut JoinSet<()>) {
    let done = |ledger: &Ledger| ledger.acked.len();
    let goal = done(&ledger.lock().expect("no panic")) + more;
    let reached = async {
        while done(&ledger.lock().expect("no panic")) < goal && !ledger.lock().expect("no panic").is_over() {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
                Some(ended) = workers.join_next() => ended.expect("no worker saw anything wrong"),
            }
        }
    };
    tokio::time::timeout(PATIENCE * 4, reached).await.expect("the workers go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_hosts_die_and_every_event_is_handled_in_order() {
    let mut rng = Rng::printed("workers_and_hosts_die_and_every_event_is_handled_in_order");
    let (kills, events) = if long() { (100, 60_000) } else { (6, 4_000) };
    let mut host = TestHost::start().await;
    create(&host).await;
    let (url, place) = watch::channel(host.path(""));
    let ledger = Shared::default();
    let mut workers = JoinSet::new();
    for number in 0..5 {
        workers.spawn(work(number, place.clone(), Arc::clone(&ledger), rng.fork()));
    }
    let publishing = tokio::spawn(publish(events, place, Arc::clone(&ledger)));
    for _ in 0..kills {
        handles(&ledger, 1 + rng.below(events / kills) as usize, &mut workers).await;
        let dir = host.kill().await;
        ledger.lock().expect("no panic").dead.insert(host.path(""));
        host = TestHost::start_in(dir).await;
        url.send_replace(host.path(""));
    }
    tokio::time::timeout(PATIENCE * 4, publishing).await.expect("published in time").expect("published");
    all_handled(&host, events, &ledger, &mut workers).await;
    workers.shutdown().await;
    let ledger = ledger.lock().expect("no panic");
    println!("{} deliveries of {events} events, {kills} hosts killed", ledger.deliveries);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_on_postgres_one_takes_over_the_others_part() {
    let mut rng = Rng::printed("of_two_hosts_on_postgres_one_takes_over_the_others_part");
    let events = 3_000;
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let store = ["--store", database.as_str()];
    let (mut first, second) = (
        TestHost::start_with(Arc::new(tempfile::tempdir().expect("a folder")), &store).await,
        TestHost::start_with(Arc::new(tempfile::tempdir().expect("a folder")), &store).await,
    );
    create(&first).await;
    let (url, place) = watch::channel(first.path(""));
    let (_other_url, other_place) = watch::channel(second.path(""));
    let ledger = Shared::default();
    let mut workers = JoinSet::new();
    for number in 0..4 {
        let place = if number % 2 == 0 { place.clone() } else { other_place.clone() };
        workers.spawn(work(number, place, Arc::clone(&ledger), rng.fork()));
    }
    let publishing = tokio::spawn(publish(events, other_place, Arc::clone(&ledger)));
    handles(&ledger, 1_000, &mut workers).await;
    drop(first.kill().await);
    ledger.lock().expect("no panic").dead.insert(first.path(""));
    url.send_replace(second.path(""));
    tokio::time::timeout(PATIENCE * 4, publishing).await.expect("published in time").expect("published");
    all_handled(&second, events, &ledger, &mut workers).await;
    workers.shutdown().await;
}
