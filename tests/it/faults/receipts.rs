//! Receipts and kill -9: what was answered as read is read, and nothing is that nobody has said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use wasmill_server::proto::ListReceiptsOfEventRequest;
use wasmill_server::proto::receipt_service_client::ReceiptServiceClient;
use wasmill_test_postgres::Postgres;

use super::kill::folder;
use crate::support::host::PATIENCE;
use crate::support::rng::Rng;
use crate::support::{TestHost, long};

const STREAM: &str = "news";
const EVENTS: u64 = 2_000;
const CONSUMERS: usize = 6;
/// Offsets of one call, of each kind.
const OFFSETS_MAX: u64 = 6;
/// Between two calls, so that a client whose host is away does not ask without a rest.
const PACE: Duration = Duration::from_millis(1);

/// What one client has said, and what of it was answered.
#[derive(Debug, Default)]
struct Said {
    delivered: BTreeSet<u64>,
    read: BTreeSet<u64>,
    answered_delivered: BTreeSet<u64>,
    answered_read: BTreeSet<u64>,
    unanswered: u64,
}

/// Notes what it likes for a consumer of its own until it is told to end.
struct Client {
    consumer: String,
    url: watch::Receiver<String>,
    running: watch::Receiver<bool>,
    answers: Arc<watch::Sender<u64>>,
    rng: Rng,
}

impl Client {
    async fn run(mut self) -> Said {
        let (mut said, http) = (Said::default(), reqwest::Client::new());
        let mut pace = tokio::time::interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while *self.running.borrow() {
            pace.tick().await;
            let (delivered, read) = (self.offsets(0), self.offsets(1));
            said.delivered.extend(&delivered);
            said.read.extend(&read);
            let url = format!("{}/api/event-streams/{STREAM}/receipts", *self.url.borrow());
            let body = json!({ "consumer": self.consumer, "delivered": delivered, "read": read }).to_string();
            let sent = tokio::time::timeout(PATIENCE, http.post(url).body(body).send()).await;
            match sent.unwrap_or_else(|_| panic!("a client was not answered within {PATIENCE:?}")) {
                Ok(answer) if answer.status() == 204 => {
                    said.answered_delivered.extend(delivered);
                    said.answered_read.extend(read);
                    self.answers.send_modify(|count| *count += 1);
                }
                Ok(answer) => panic!("{}: {:?}", answer.status(), answer.text().await),
                Err(_) => said.unanswered += 1,
            }
        }
        said
    }

    fn offsets(&mut self, min: u64) -> Vec<u64> {
        let count = min + self.rng.below(OFFSETS_MAX);
        (0..count).map(|_| self.rng.below(EVENTS)).collect()
    }
}

struct Clients {
    url: watch::Sender<String>,
    running: watch::Sender<bool>,
    answers: Arc<watch::Sender<u64>>,
    tasks: Vec<(String, JoinHandle<Said>)>,
}

impl Clients {
    async fn start(host: &TestHost, rng: &mut Rng) -> Self {
        let events: Vec<_> = (0..EVENTS).map(|n| json!({ "type": "posted", "data": n })).collect();
        for events in events.chunks(1_000) {
            host.publish(STREAM, &json!(events)).await;
        }
        let (url, running) = (watch::Sender::new(host.url.clone()), watch::Sender::new(true));
        let answers = Arc::new(watch::Sender::new(0));
        let start = |n: usize| {
            let consumer = format!("c-{n}");
            let (url, running) = (url.subscribe(), running.subscribe());
            let client =
                Client { consumer: consumer.clone(), url, running, answers: Arc::clone(&answers), rng: rng.fork() };
            (consumer, tokio::spawn(client.run()))
        };
        let tasks = (0..CONSUMERS).map(start).collect();
        Self { url, running, answers, tasks }
    }

    /// Waits until so many more calls were answered.
    async fn answered(&self, more: u64) {
        let mut answers = self.answers.subscribe();
        let wanted = *answers.borrow() + more;
        let enough = tokio::time::timeout(PATIENCE, answers.wait_for(|count| *count >= wanted)).await;
        enough.expect("calls are answered in time").expect("the clients live");
    }

    async fn end(self) -> BTreeMap<String, Said> {
        self.running.send_replace(false);
        let mut said = BTreeMap::new();
        for (consumer, task) in self.tasks {
            said.insert(consumer, task.await.expect("a client does not panic"));
        }
        said
    }
}

/// Kills a host again and again while clients note receipts, and checks all that is promised.
async fn killed(test: &str, flags: &[&str], kills: u64) {
    let mut rng = Rng::printed(test);
    let mut host = TestHost::start_with(folder(), flags).await;
    let clients = Clients::start(&host, &mut rng).await;
    for _ in 0..kills {
        clients.answered(1 + rng.below(300)).await;
        let dir = host.kill().await;
        host = TestHost::start_with(dir, flags).await;
        clients.url.send_replace(host.url.clone());
    }
    clients.answered(100).await;
    let said = clients.end().await;
    assert!(said.values().any(|said| said.unanswered > 0), "no call was under way when a host was killed");
    let mut by_consumer = BTreeMap::new();
    for (consumer, said) in &said {
        let found = of_consumer(&host, consumer, false).await;
        said.verify(consumer, &found);
        let unread: BTreeMap<_, _> = found.iter().filter(|(_, read)| !**read).map(|(n, read)| (*n, *read)).collect();
        assert_eq!(of_consumer(&host, consumer, true).await, unread, "{consumer}: what is not read");
        by_consumer.extend(found.into_iter().map(|(offset, read)| ((offset, consumer.clone()), read)));
    }
    assert_eq!(by_event(&host).await, by_consumer, "both ways lead to the same receipts");
    verify_progress(&host, &by_consumer).await;
}

impl Said {
    fn verify(&self, consumer: &str, found: &BTreeMap<u64, bool>) {
        let read: BTreeSet<u64> = found.iter().filter(|(_, read)| **read).map(|(offset, _)| *offset).collect();
        let delivered: BTreeSet<u64> = found.keys().copied().collect();
        let never_said: Vec<_> = read.difference(&self.read).collect();
        assert!(never_said.is_empty(), "{consumer} never said that it has read {never_said:?}");
        let lost: Vec<_> = self.answered_read.difference(&read).collect();
        assert!(lost.is_empty(), "{consumer} was answered that it has read {lost:?}");
        let said: BTreeSet<u64> = self.delivered.union(&self.read).copied().collect();
        let never_said: Vec<_> = delivered.difference(&said).collect();
        assert!(never_said.is_empty(), "{consumer} never said that it was delivered {never_said:?}");
        let lost: Vec<_> = self.answered_delivered.difference(&delivered).collect();
        assert!(lost.is_empty(), "{consumer} was answered that it was delivered {lost:?}");
    }
}

/// Whether it was read, of each offset that has a receipt.
async fn of_consumer(host: &TestHost, consumer: &str, unread: bool) -> BTreeMap<u64, bool> {
    let (mut found, mut query) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("/api/consumers/{consumer}/receipts?limit=97&unread={unread}{query}");
        let (status, page) = host.get(&path).await;
        assert_eq!(status, 200, "{page}");
        for receipt in page["receipts"].as_array().expect("receipts") {
            let offset = receipt["offset"].as_u64().expect("a number");
            assert_eq!((&receipt["consumer"], &receipt["stream"]), (&json!(consumer), &json!(STREAM)));
            assert!(found.insert(offset, receipt.get("readAt").is_some_and(Value::is_string)).is_none(), "{receipt}");
        }
        let Some(next) = page.get("next") else { return found };
        query = format!("&stream={STREAM}&offset={}", next["offset"]);
    }
}

/// The same, looked up event by event.
async fn by_event(host: &TestHost) -> BTreeMap<(u64, String), bool> {
    let mut client = ReceiptServiceClient::new(host.channel().await);
    let mut found = BTreeMap::new();
    for offset in 0..EVENTS {
        let request = ListReceiptsOfEventRequest { stream: STREAM.into(), offset, ..Default::default() };
        let page = client.list_receipts_of_event(request).await.expect("listed").into_inner();
        assert_eq!(page.next_after, "");
        found.extend(page.receipts.into_iter().map(|one| ((one.offset, one.consumer), one.read_at_us.is_some())));
    }
    found
}

/// What is told of each consumer's progress is the sum of its receipts.
async fn verify_progress(host: &TestHost, receipts: &BTreeMap<(u64, String), bool>) {
    let (status, page) = host.get(&format!("/api/event-streams/{STREAM}/consumers")).await;
    assert_eq!(status, 200, "{page}");
    let consumers = page["consumers"].as_array().expect("consumers");
    assert_eq!(consumers.len(), CONSUMERS, "{page}");
    for progress in consumers {
        let of: Vec<_> = receipts.iter().filter(|((_, consumer), _)| progress["consumer"] == **consumer).collect();
        let read: Vec<_> = of.iter().filter(|(_, read)| **read).map(|((offset, _), _)| *offset).collect();
        assert_eq!((&progress["delivered"], &progress["read"]), (&json!(of.len()), &json!(read.len())), "{progress}");
        assert_eq!(progress["lastRead"], json!(read.last()), "{progress}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_survive_kill_9_on_sqlite() {
    killed("receipts_survive_kill_9_on_sqlite", &[], if long() { 50 } else { 6 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_survive_kill_9_on_postgres() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let kills = if long() { 50 } else { 4 };
    killed("receipts_survive_kill_9_on_postgres", &["--store", &database], kills).await;
}
