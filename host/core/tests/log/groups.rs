//! Several hosts that share a group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use wasmill_core::clock::{Clock, Timestamp};
use wasmill_core::event::{NewEvent, Offset, Position};
use wasmill_core::group::config::Mode;
use wasmill_core::group::{GroupConfig, Membership, Nack, Settled, Start, Token, Which};
use wasmill_core::log::publish::Append;
use wasmill_core::random::{Random, seeds};
use wasmill_core::store::{PageLimit, Store};
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::Subject;

use super::shared::Shared;
use super::support::{TestHost, append, event, host_over, name};

const GROUP: &str = "g";
/// Fifty turns of the runtime are enough for a round of every task.
const TURNS: usize = 50;

struct Worker {
    host: usize,
    member: Membership,
    in_hand: Vec<(Token, u64)>,
}

/// Two hosts, their workers, and all that was handed out.
struct Shop {
    random: Random,
    hosts: Vec<TestHost>,
    workers: Vec<Worker>,
    keys: BTreeMap<u64, String>,
    acked: BTreeSet<u64>,
}

impl Shop {
    /// Time goes on for all hosts.
    async fn later(&self, ms: i64) {
        for host in &self.hosts {
            host.clock.advance_us(ms * 1_000);
        }
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }

    async fn join(&mut self, host: usize, name: &str) {
        let member = self.hosts[host].host.groups.join(GROUP, name).await.expect("there is room");
        self.workers.push(Worker { host, member, in_hand: Vec::new() });
    }

    async fn publish(&mut self, host: usize) {
        let keys: Vec<String> = (0..5).map(|_| format!("k{}", self.random.below(30))).collect();
        let event = |key: &String| NewEvent { key: Some(key.clone()), ..event(uuid::Uuid::now_v7().as_u128()) };
        let events = keys.iter().map(event).collect();
        let append = Append { events, ..append("s", 0) };
        let appended = self.hosts[host].host.publisher.append(append).await.expect("it is appended");
        self.keys.extend((appended.first_position.0..).zip(keys));
    }

    async fn pull(&mut self, n: usize) {
        let now = self.hosts[self.workers[n].host].clock.now();
        let room = PageLimit { events: 1 + self.random.below(6) as usize, bytes: 1 << 20 };
        let Ok(handed) = self.workers[n].member.pull(room, now).await else { return };
        for one in handed {
            let position = one.event.position().0;
            assert!(!self.acked.contains(&position), "{position} is acknowledged");
            let key = &self.keys[&position];
            for (earlier, _) in self.keys.range(..position).filter(|(_, other)| *other == key) {
                let with_me = self.workers[n].in_hand.iter().any(|(_, at)| at == earlier);
                assert!(self.acked.contains(earlier) || with_me, "{position} overtakes {earlier}");
            }
            let others = self.workers.iter().flat_map(|worker| worker.in_hand.iter());
            assert!(others.map(|(_, at)| at).all(|at| *at != position), "{position} is with two members");
            self.workers[n].in_hand.push((one.token, position));
        }
    }

    async fn ack(&mut self, n: usize) {
        let in_hand = std::mem::take(&mut self.workers[n].in_hand);
        let tokens = in_hand.iter().map(|(token, _)| *token).collect();
        let Ok(answers) = self.workers[n].member.ack(tokens).await else { return };
        for (answer, (_, position)) in answers.into_iter().zip(in_hand) {
            if answer == Settled::Durable {
                assert!(self.acked.insert(position), "{position} is acknowledged twice");
            }
        }
    }

    async fn refuse(&mut self, n: usize) {
        let in_hand = std::mem::take(&mut self.workers[n].in_hand);
        let tokens = in_hand.iter().map(|(token, _)| *token).collect();
        let _ = self.workers[n].member.nack(tokens, Nack::Delay { ms: 10 }).await;
    }

    async fn turn(&mut self) {
        let n = self.random.below(self.workers.len() as u64) as usize;
        match self.random.below(10) {
            0..5 => self.pull(n).await,
            5..8 => self.ack(n).await,
            8 => self.refuse(n).await,
            _ => {
                let ms = *self.random.pick(&[10, 100, 500, 1_000]);
                self.later(ms).await;
            }
        }
    }

    fn shares(&self) -> impl Future<Output = Vec<usize>> {
        let groups: Vec<_> = self.hosts.iter().map(|host| host.host.groups.clone()).collect();
        async move {
            let mut shares = Vec::new();
            for groups in groups {
                shares.push(groups.status(GROUP).await.map_or(0, |status| status.shares));
            }
            shares
        }
    }
}

#[tokio::test]
async fn hosts_divide_a_group_and_one_takes_over_from_another_that_died() {
    for seed in seeds(40) {
        let store = Shared::new();
        let first = store.beside();
        let hosts = vec![host_over(Arc::clone(&first) as Arc<dyn Store>).await, host_over(store).await];
        let config =
            GroupConfig { session_timeout_ms: Some(5_000), ack_timeout_ms: Some(3_600_000), ..GroupConfig::default() };
        hosts[0].host.groups.create(GROUP, config, Start::First).await.unwrap();
        let random = Random::new(seed);
        let mut shop = Shop { random, hosts, workers: Vec::new(), keys: BTreeMap::new(), acked: BTreeSet::new() };
        for (host, name) in [(0, "a"), (0, "b"), (1, "c"), (1, "d")] {
            shop.join(host, name).await;
        }
        for n in 0..60 {
            if n % 3 == 0 {
                shop.publish(n % 2).await;
            }
            shop.turn().await;
        }
        for _ in 0..10 {
            for n in 0..4 {
                shop.ack(n).await;
                let _ = shop.workers[n].member.heartbeat().await;
            }
            shop.later(1_000).await;
        }
        assert_eq!(shop.shares().await, [8, 8], "they divide it");

        for n in 0..4 {
            shop.pull(n).await;
        }
        first.dead.store(true, Ordering::SeqCst);
        shop.workers.retain(|worker| worker.host == 1);
        for _ in 0..12 {
            shop.later(1_000).await;
            for worker in &shop.workers {
                worker.member.heartbeat().await.unwrap();
            }
        }
        assert_eq!(shop.hosts[1].host.groups.status(GROUP).await.unwrap().shares, 16, "the other one takes over");
        shop.publish(1).await;
        for _ in 0..1_000 {
            for n in 0..shop.workers.len() {
                shop.pull(n).await;
                shop.ack(n).await;
            }
            if shop.acked.len() == shop.keys.len() {
                break;
            }
            shop.later(100).await;
        }
        let lost: Vec<&u64> = shop.keys.keys().filter(|position| !shop.acked.contains(position)).collect();
        assert_eq!(lost, Vec::<&u64>::new(), "every event is handled");
        for _ in 0..3 {
            shop.later(1_000).await;
        }
        let status = shop.hosts[1].host.groups.status(GROUP).await.unwrap();
        assert_eq!((status.unsettled, status.in_flight), (0, 0));
        assert_eq!(status.position, Position(shop.keys.len() as u64), "all can tell that it has caught up");
    }
}

/// A dead letter is replayed or removed through any host, be its share here or there.
#[tokio::test]
async fn dead_letters_are_settled_through_either_host() {
    let store = Shared::new();
    let hosts = vec![host_over(store.beside()).await, host_over(store).await];
    let config = GroupConfig { session_timeout_ms: Some(5_000), ..GroupConfig::default() };
    hosts[0].host.groups.create(GROUP, config, Start::First).await.unwrap();
    let random = Random::new(1);
    let mut shop = Shop { random, hosts, workers: Vec::new(), keys: BTreeMap::new(), acked: BTreeSet::new() };
    shop.join(0, "a").await;
    shop.join(1, "b").await;
    for _ in 0..6 {
        shop.publish(0).await;
    }
    let mut parked = BTreeSet::new();
    for _ in 0..60 {
        for n in 0..2 {
            let now = shop.hosts[n].clock.now();
            let room = PageLimit { events: 10, bytes: 1 << 20 };
            let Ok(handed) = shop.workers[n].member.pull(room, now).await else { continue };
            for one in handed {
                let nack = Nack::Park { error: "never".into() };
                let answers = shop.workers[n].member.nack(vec![one.token], nack).await.unwrap();
                if answers == [Settled::Durable] {
                    parked.insert(one.event.position());
                }
            }
        }
        shop.later(300).await;
    }
    assert_eq!(shop.shares().await, [8, 8]);
    let letters = async |host: usize| -> Vec<u64> {
        let page = shop.hosts[host].host.groups.dead_letters(GROUP, Position(0), 100).await.unwrap();
        page.letters.iter().map(|letter| letter.position().0).collect()
    };
    assert_eq!(letters(1).await, (0..30).collect::<Vec<u64>>(), "those that followed are dead letters too");
    let half: Vec<Position> = letters(0).await.into_iter().filter(|position| position % 3 == 0).map(Position).collect();
    let purged = shop.hosts[0].host.groups.purge(GROUP, &Which::Positions(half.clone())).await.unwrap();
    assert_eq!(purged, half.len());
    let left = letters(1).await.len();
    assert_eq!(shop.hosts[1].host.groups.replay(GROUP, &Which::All).await.unwrap(), left);
    for position in &half {
        shop.acked.insert(position.0);
    }
    for _ in 0..100 {
        for n in 0..2 {
            let _ = shop.workers[n].member.heartbeat().await;
            shop.pull(n).await;
            shop.ack(n).await;
        }
        shop.later(300).await;
    }
    assert_eq!(shop.acked.len(), 30, "what was replayed is handled by whoever has its share");
    let unparked = shop.hosts[0].host.groups.status(GROUP).await.unwrap().parked_keys;
    assert_eq!(unparked, 0);
}

#[tokio::test]
async fn a_dead_letter_is_copied_to_the_stream_for_them() {
    let test = host_over(Shared::new() as Arc<dyn Store>).await;
    let config = GroupConfig { dead_letter_stream: Some("letters".into()), ..GroupConfig::default() };
    let config = GroupConfig { streams: vec!["s".into()], ..config };
    test.host.groups.create(GROUP, config, Start::First).await.unwrap();
    test.host.publisher.append(append("s", 1)).await.unwrap();
    let member = test.host.groups.join(GROUP, "a").await.unwrap();
    let room = PageLimit { events: 1, bytes: 1 << 20 };
    let later = Timestamp(test.clock.now().0 + 1_000_000);
    let handed = member.pull(room, later).await.unwrap();
    let park = Nack::Park { error: "a price below zero".into() };
    assert_eq!(member.nack(vec![handed[0].token], park).await.unwrap(), [Settled::Durable]);
    let mut letters = test.host.reader.follow_stream(name("letters"), Offset(0));
    let copies = letters.next_page(room).await.unwrap();
    let headers = copies[0].headers();
    for (header, value) in [("group", GROUP), ("stream", "s"), ("position", "0"), ("reason", "parked")] {
        let header = format!("wasmill-dead-letter-{header}");
        assert!(headers.contains(&(header.as_str(), value)), "{headers:?}");
    }
    assert!(headers.contains(&("wasmill-dead-letter-error", "a price below zero")));
    assert_eq!(copies[0].data(), handed[0].event.data());
    assert_eq!(copies[0].origin().causation_id, Some(handed[0].event.id().to_string()));
}

/// A host that stood still for a while is taken for dead. It knows nothing of that when it goes on, and yet
/// nothing that its members say counts any more.
#[tokio::test]
async fn a_host_that_slept_settles_nothing_any_more() {
    let store = Shared::new();
    let hosts = vec![host_over(store.beside()).await, host_over(store).await];
    let config = GroupConfig { session_timeout_ms: Some(5_000), ..GroupConfig::default() };
    hosts[0].host.groups.create(GROUP, config, Start::First).await.unwrap();
    let random = Random::new(1);
    let mut shop = Shop { random, hosts, workers: Vec::new(), keys: BTreeMap::new(), acked: BTreeSet::new() };
    shop.join(0, "sleeper").await;
    shop.join(1, "b").await;
    for _ in 0..5 {
        shop.later(1_000).await;
        for worker in &shop.workers {
            worker.member.heartbeat().await.unwrap();
        }
    }
    assert_eq!(shop.shares().await, [8, 8]);
    for _ in 0..6 {
        shop.publish(1).await;
    }
    let room = PageLimit { events: 100, bytes: 1 << 20 };
    let handed = shop.workers[0].member.pull(room, shop.hosts[0].clock.now()).await.unwrap();
    assert!(!handed.is_empty(), "it has something");
    for _ in 0..12 {
        shop.hosts[1].clock.advance_us(1_000_000);
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
        shop.workers[1].member.heartbeat().await.unwrap();
    }
    assert_eq!(shop.hosts[1].host.groups.status(GROUP).await.unwrap().shares, 16, "it was taken for dead");
    let tokens = handed.iter().map(|one| one.token).collect();
    let answer = shop.workers[0].member.ack(tokens).await;
    assert!(!matches!(&answer, Ok(answers) if answers.contains(&Settled::Durable)), "{answer:?}");
    let worker = &shop.workers[1].member;
    let mut positions = BTreeSet::new();
    while positions.len() < shop.keys.len() {
        let handed = worker.pull(room, shop.hosts[1].clock.now()).await.unwrap();
        assert!(!handed.is_empty(), "all of them come to the other host: {positions:?}");
        positions.extend(handed.iter().map(|one| one.event.position().0));
        let tokens = handed.iter().map(|one| one.token).collect();
        assert!(worker.ack(tokens).await.unwrap().iter().all(|answer| *answer == Settled::Durable));
    }
}

#[tokio::test]
async fn an_exclusive_group_is_with_one_member_of_all_hosts() {
    let store = Shared::new();
    let hosts = vec![host_over(store.beside()).await, host_over(store).await];
    let config = GroupConfig { mode: Mode::Exclusive, session_timeout_ms: Some(5_000), ..GroupConfig::default() };
    hosts[0].host.groups.create(GROUP, config, Start::First).await.unwrap();
    let random = Random::new(1);
    let mut shop = Shop { random, hosts, workers: Vec::new(), keys: BTreeMap::new(), acked: BTreeSet::new() };
    shop.join(1, "first").await;
    shop.later(1_000).await;
    shop.join(0, "second").await;
    let handled = async |shop: &mut Shop, n: usize| {
        let before = shop.acked.len();
        shop.pull(n).await;
        shop.ack(n).await;
        shop.acked.len() - before
    };
    for _ in 0..10 {
        shop.publish(0).await;
        assert_eq!(handled(&mut shop, 1).await, 0, "who stands by gets nothing, on whatever host");
        assert!(handled(&mut shop, 0).await > 0, "who has it gets all");
        shop.later(1_000).await;
        for worker in &shop.workers {
            worker.member.heartbeat().await.unwrap();
        }
    }
    shop.workers[0].member.leave().await.unwrap();
    for _ in 0..5 {
        shop.later(1_000).await;
        shop.workers[1].member.heartbeat().await.unwrap();
    }
    assert!(handled(&mut shop, 1).await > 0, "who stood by takes over");
}

#[tokio::test]
async fn what_a_member_may_no_longer_read_is_settled_and_not_handed_out() {
    let test = host_over(Shared::new().beside() as Arc<dyn Store>).await;
    test.host.groups.create(GROUP, GroupConfig::default(), Start::First).await.unwrap();
    for stream in ["open", "closed", "open"] {
        let mut keyed = append(stream, 1);
        keyed.events[0].key = Some("k".into());
        test.host.publisher.append(keyed).await.unwrap();
    }
    let member = test.host.groups.join(GROUP, "a").await.unwrap();
    let later = Timestamp(test.clock.now().0 + 1_000_000);
    let one = PageLimit { events: 1, bytes: 1 << 20 };
    let first = member.pull(one, later).await.unwrap();
    // All of them are read by now.
    let closed = StreamConfig::parse(r#"{"access":{"read":"plugins"}}"#).unwrap();
    test.host.stream_configs.put(&Subject::Stream(name("closed")), closed).await.unwrap();
    member.ack(vec![first[0].token]).await.unwrap();
    assert_eq!(first[0].event.position(), Position(0));
    let next = member.pull(one, later).await.unwrap();
    assert_eq!(next[0].event.position(), Position(2), "not the one in between");
    member.ack(vec![next[0].token]).await.unwrap();
    assert_eq!(test.host.groups.status(GROUP).await.unwrap().unsettled, 0, "it does not hold up the group");
}
