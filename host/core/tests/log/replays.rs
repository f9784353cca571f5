//! The past once more, beside what is new.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use uuid::Uuid;
use wasmill_core::clock::{Clock, Timestamp};
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{Event, NewEvent, Position};
use wasmill_core::group::{GroupConfig, Membership, Nack, Settled, Start};
use wasmill_core::log::publish::Append;
use wasmill_core::random::{Random, seeds};
use wasmill_core::replay::{NewReplay, Pace, Replay, ReplayError, Source, State, Target};
use wasmill_core::store::Store;
use wasmill_core::store::memory::MemoryStore;
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::Subject;

use super::shared::Shared;
use super::support::{PAGE, TestHost, append, event, host, host_later, host_over, name};

const GROUP: &str = "g";
const SECOND_US: i64 = 1_000_000;

fn to(target: Target) -> NewReplay {
    NewReplay { source: Source::default(), from: Start::First, until: None, target, pace: Pace::default() }
}

fn of(stream: &str) -> Source {
    Source { streams: vec![stream.into()], ..Source::default() }
}

fn rate(events_per_second: u64) -> Pace {
    Pace { events_per_second: Some(events_per_second), speed: None }
}

async fn wait_for(test: &TestHost, id: Uuid, state: State) -> Replay {
    loop {
        let replay = test.host.replays.get(id).await.unwrap();
        if replay.state == state {
            return replay;
        }
        assert!(!replay.state.is_over(), "{replay:?}");
        test.clock.advance_us(10_000);
        tokio::task::yield_now().await;
    }
}

/// Pulls and acknowledges what there is.
async fn work(test: &TestHost, member: &Membership) -> Vec<u64> {
    let handed = member.pull(PAGE, test.clock.now()).await.unwrap();
    let acked = member.ack(handed.iter().map(|one| one.token).collect()).await;
    // Where another host has changed a share meanwhile, the group begins anew and hands them out again.
    let Ok(settled) = acked else { return Vec::new() };
    let durable = handed.iter().zip(settled).filter(|(_, settled)| *settled == Settled::Durable);
    durable.map(|(one, _)| one.event.position().0).collect()
}

async fn group(test: &TestHost, config: GroupConfig) -> Membership {
    test.host.groups.create(GROUP, config, Start::First).await.unwrap();
    test.host.groups.join(GROUP, "ann").await.unwrap()
}

async fn received(test: &TestHost, id: Uuid, after: Option<Position>) -> Vec<Event> {
    let mut receiving = test.host.replays.receive(id, after).await.unwrap();
    let mut events = Vec::new();
    while let Some(page) = receiving.next().await.unwrap() {
        events.extend(page);
    }
    events
}

fn positions(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.position().0).collect()
}

#[tokio::test]
async fn a_group_gets_its_past_once_more_beside_what_is_new() {
    let test = host().await;
    test.host.publisher.append(append("other", 5)).await.unwrap();
    test.host.publisher.append(append("s", 20)).await.unwrap();
    let member = group(&test, GroupConfig { streams: vec!["s".into()], ..GroupConfig::default() }).await;
    assert_eq!(work(&test, &member).await.len(), 20);
    let replay =
        NewReplay { from: Start::Offset(5), until: Some(Start::Offset(12)), ..to(Target::Group(GROUP.into())) };
    let replay = test.host.replays.start(replay).await.unwrap();
    assert_eq!((replay.from, replay.until, replay.total), (Position(10), Position(17), 7));
    let done = wait_for(&test, replay.id, State::Done).await;
    assert_eq!((done.done, done.next), (7, Position(17)));
    let newest = test.host.publisher.append(append("s", 1)).await.unwrap().first_position.0;
    // All of them are of one key, so what is new comes behind what waits.
    assert_eq!(work(&test, &member).await, [10, 11, 12, 13, 14, 15, 16, newest]);
    assert!(work(&test, &member).await.is_empty());
}

#[tokio::test]
async fn a_group_that_nobody_is_a_member_of_keeps_its_replay_for_later() {
    let test = host().await;
    test.host.publisher.append(append("s", 20)).await.unwrap();
    let member = group(&test, GroupConfig::default()).await;
    assert_eq!(work(&test, &member).await.len(), 20);
    test.host.stop().await;
    let store = Arc::clone(&test.host.store);
    let test = host_later(store, test.clock.now()).await;
    // The shares are nobody's now.
    let replay = test.host.replays.start(to(Target::Group(GROUP.into()))).await.unwrap();
    assert_eq!(wait_for(&test, replay.id, State::Done).await.done, 20);
    let member = test.host.groups.join(GROUP, "bob").await.unwrap();
    let mut again = Vec::new();
    while again.len() < 20 {
        again.extend(work(&test, &member).await);
    }
    assert_eq!(again, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn dead_letters_and_what_waits_are_not_handed_in_twice() {
    let test = host().await;
    let keyed = |n: u128| NewEvent { key: Some(format!("k{n}")), ..event(n + 1) };
    let events = (0..6).map(keyed).collect();
    test.host.publisher.append(Append { events, ..append("s", 0) }).await.unwrap();
    let member = group(&test, GroupConfig::default()).await;
    let handed = member.pull(PAGE, test.clock.now()).await.unwrap();
    let token = |position: u64| handed.iter().find(|one| one.event.position().0 == position).unwrap().token;
    member.ack(vec![token(0), token(1)]).await.unwrap();
    member.nack(vec![token(2)], Nack::Park { error: "no".into() }).await.unwrap();
    let replay = test.host.replays.start(to(Target::Group(GROUP.into()))).await.unwrap();
    wait_for(&test, replay.id, State::Done).await;
    let mut again = work(&test, &member).await;
    again.sort_unstable();
    assert_eq!(again, [0, 1], "2 is a dead letter, and 3 to 5 are in someone's hands");
}

#[tokio::test]
async fn a_client_receives_a_range_at_its_pace_pauses_and_goes_on() {
    let test = host().await;
    test.host.publisher.append(append("s", 1_000)).await.unwrap();
    let replay = NewReplay {
        source: of("s"),
        from: Start::Position(100),
        until: Some(Start::Position(900)),
        pace: rate(100),
        ..to(Target::Client)
    };
    let replay = test.host.replays.start(replay).await.unwrap();
    assert_eq!((replay.total, replay.total_is_estimate), (800, false));
    let mut receiving = test.host.replays.receive(replay.id, None).await.unwrap();
    let began = test.clock.now().0;
    let mut got = Vec::new();
    while got.len() < 300 {
        let next = receiving.next();
        tokio::pin!(next);
        let page = loop {
            tokio::select! {
                biased;
                page = &mut next => break page,
                () = tokio::task::yield_now() => test.clock.advance_us(1_000),
            }
        };
        got.extend(page.unwrap().unwrap());
        let most = 100 * (test.clock.now().0 - began) / SECOND_US + 11;
        assert!(got.len() as i64 <= most, "{} of {most}", got.len());
    }
    let half = test.host.replays.pause(replay.id).await.unwrap();
    assert_eq!(half.state, State::Paused);
    // Nothing comes while it is paused, and how far it is is known.
    for _ in 0..100 {
        test.clock.advance_us(100_000);
        tokio::select! {
            biased;
            page = receiving.next() => panic!("{page:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    let half = test.host.replays.get(replay.id).await.unwrap();
    assert_eq!((half.done, half.next.0), (got.len() as u64, 100 + got.len() as u64));
    test.host.replays.resume(replay.id).await.unwrap();
    while got.len() < 500 {
        let next = receiving.next();
        tokio::pin!(next);
        let page = loop {
            tokio::select! {
                biased;
                page = &mut next => break page,
                () = tokio::task::yield_now() => test.clock.advance_us(1_000),
            }
        };
        got.extend(page.unwrap().unwrap());
    }
    test.host.replays.cancel(replay.id).await.unwrap();
    assert!(receiving.next().await.unwrap().is_none());
    assert_eq!(positions(&got), (100..100 + got.len() as u64).collect::<Vec<_>>());
    let over = test.host.replays.resume(replay.id).await.unwrap_err();
    assert_eq!(Problem::from(over).code, Code::ReplayState);
}

#[tokio::test]
async fn who_says_where_it_was_gets_every_event_once() {
    let test = host().await;
    test.host.publisher.append(append("s", 500)).await.unwrap();
    test.host.publisher.append(append("t", 500)).await.unwrap();
    let source = Source { types: vec!["t".into()], streams: vec!["s*".into()], ..Source::default() };
    let new = NewReplay { source, pace: rate(1_000_000), ..to(Target::Client) };
    let replay = test.host.replays.start(new).await.unwrap();
    assert!(replay.total_is_estimate);
    let mut receiving = test.host.replays.receive(replay.id, None).await.unwrap();
    let first = loop {
        tokio::select! {
            page = receiving.next() => break page.unwrap().unwrap(),
            () = tokio::task::yield_now() => test.clock.advance_us(1_000),
        }
    };
    let last = first.last().unwrap().position();
    // Another one takes its place.
    let store = Arc::clone(&test.host.store);
    let mut second = test.host.replays.receive(replay.id, Some(last)).await.unwrap();
    assert!(matches!(receiving.next().await, Err(ReplayError::Overtaken)));
    let mut got = positions(&first);
    let page = loop {
        tokio::select! {
            page = second.next() => break page.unwrap().unwrap(),
            () = tokio::task::yield_now() => test.clock.advance_us(1_000),
        }
    };
    got.extend(positions(&page));
    // The host dies; the client says where it was.
    drop(second);
    let test = host_later(store, test.clock.now()).await;
    let clock = test.clock.clone();
    let ticking = tokio::spawn(async move {
        loop {
            clock.advance_us(1_000);
            tokio::task::yield_now().await;
        }
    });
    got.extend(positions(&received(&test, replay.id, got.last().copied().map(Position)).await));
    ticking.abort();
    assert_eq!(got, (0..500).collect::<Vec<_>>());
    assert_eq!(test.host.replays.get(replay.id).await.unwrap().state, State::Done);
}

#[tokio::test]
async fn events_come_at_the_speed_at_which_they_happened() {
    let test = host().await;
    let at = |n: u128, ms: i64| NewEvent { time: Some(Timestamp(ms * 1_000)), ..event(n + 1) };
    let events = [0, 0, 500, 2_000].iter().zip(0..).map(|(ms, n)| at(n, *ms)).collect();
    test.host.publisher.append(Append { events, ..append("s", 0) }).await.unwrap();
    let pace = Pace { events_per_second: None, speed: Some(0.5) };
    let replay = test.host.replays.start(NewReplay { pace, ..to(Target::Client) }).await.unwrap();
    let mut receiving = test.host.replays.receive(replay.id, None).await.unwrap();
    let began = test.clock.now().0;
    let mut came = Vec::new();
    loop {
        let page = tokio::select! {
            biased;
            page = receiving.next() => page.unwrap(),
            () = tokio::task::yield_now() => {
                test.clock.advance_us(100_000);
                continue;
            }
        };
        let Some(page) = page else { break };
        came.extend(page.iter().map(|event| (event.position().0, (test.clock.now().0 - began) / 100_000)));
    }
    assert_eq!(came, [(0, 0), (1, 0), (2, 10), (3, 40)]);
}

/// What was under way wrote over the end, and the replay was kept for ever.
#[tokio::test]
async fn one_that_is_cancelled_while_it_runs_keeps_its_end_and_is_forgotten() {
    let test = host().await;
    for _ in 0..2 {
        test.host.publisher.append(append("s", 1_000)).await.unwrap();
    }
    let member = group(&test, GroupConfig::default()).await;
    while !work(&test, &member).await.is_empty() {}
    let mut ids = Vec::new();
    for turns in 0..20 {
        let id = test.host.replays.start(to(Target::Group(GROUP.into()))).await.unwrap().id;
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        // It may be done by then.
        let end = test.host.replays.cancel(id).await.map_or(State::Done, |replay| replay.state);
        ids.push((id, end));
        while !work(&test, &member).await.is_empty() {}
    }
    assert!(ids.iter().any(|(_, end)| *end == State::Cancelled));
    for (id, end) in ids {
        let replay = test.host.replays.get(id).await.unwrap();
        assert_eq!((replay.state, replay.ended_at.is_some()), (end, true), "{replay:?}");
    }
    test.host.replays.start(to(Target::Client)).await.unwrap();
    test.clock.advance_us(25 * 3_600 * SECOND_US);
    // Those that are over, and one whose client never came, make room.
    let last = test.host.replays.start(to(Target::Client)).await.unwrap();
    let left = test.host.replays.list().await.unwrap();
    assert_eq!(left.iter().map(|replay| replay.id).collect::<Vec<_>>(), [last.id]);
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused() {
    let test = host().await;
    test.host.publisher.append(append("s", 3)).await.unwrap();
    let refused = async |new: NewReplay| {
        let problem = Problem::from(test.host.replays.start(new).await.unwrap_err());
        (problem.code, problem.details.into_iter().map(|detail| detail.at).collect::<String>())
    };
    let invalid = |at: &str| (Code::InvalidArgument, at.to_owned());
    assert_eq!(refused(to(Target::Group("none".into()))).await.0, Code::GroupNotFound);
    assert_eq!(refused(to(Target::Projection("none".into()))).await.0, Code::ProjectionNotFound);
    let client = || to(Target::Client);
    assert_eq!(refused(NewReplay { pace: rate(0), ..client() }).await, invalid("eventsPerSecond"));
    let backwards = Pace { events_per_second: None, speed: Some(-1.0) };
    assert_eq!(refused(NewReplay { pace: backwards, ..client() }).await, invalid("speed"));
    assert_eq!(refused(NewReplay { from: Start::Offset(1), ..client() }).await, invalid("from"));
    let until = Some(Start::Position(1));
    assert_eq!(refused(NewReplay { from: Start::Last, until, ..client() }).await, invalid("until"));
    let queue = StreamConfig::parse(r#"{"kind":"ephemeral"}"#).unwrap();
    test.host.stream_configs.put(&Subject::Stream(name("q")), queue).await.unwrap();
    let queue = test.host.groups.queue(&name("q")).await.unwrap();
    assert_eq!(refused(to(Target::Group(queue))).await, invalid("group"));
    let none = test.host.replays.get(Uuid::nil()).await.unwrap_err();
    assert_eq!(Problem::from(none).code, Code::ReplayNotFound);
}

/// The host that replays had not heard of what another one had appended, and took the end of its own log for the
/// end of the range: what came behind was left out.
#[tokio::test]
async fn a_replay_goes_on_to_its_end_though_its_host_hears_late_of_what_others_append() {
    let (first, second) = {
        let store = Shared::new();
        (Arc::clone(&store), store.beside())
    };
    let leader = host_over(Arc::clone(&first) as Arc<dyn Store>).await;
    let test = host_over(second).await;
    let keyed = |n: u128| NewEvent { key: Some(format!("k{}", n % 40)), ..event(n + 1) };
    let publish = async |range: std::ops::Range<u128>| {
        let events = range.map(keyed).collect();
        test.host.publisher.append(Append { events, ..append("s", 0) }).await.unwrap();
    };
    publish(0..100).await;
    let patient = Some(3_600_000);
    let config = GroupConfig { session_timeout_ms: patient, ack_timeout_ms: patient, ..GroupConfig::default() };
    test.host.groups.create(GROUP, config, Start::First).await.unwrap();
    let members = [
        (&leader, leader.host.groups.join(GROUP, "ann").await.unwrap()),
        (&test, test.host.groups.join(GROUP, "bob").await.unwrap()),
    ];
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    let mut work_until = async |count: u32| {
        while times.values().sum::<u32>() < count {
            for (host, member) in &members {
                host.clock.advance_us(50_000);
                for position in work(host, member).await {
                    *times.entry(position).or_default() += 1;
                }
            }
            tokio::task::yield_now().await;
        }
        times.clone()
    };
    work_until(100).await;
    // What the acknowledgements have woken rests again.
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    first.unreachable.store(true, Ordering::SeqCst);
    publish(100..150).await;
    let replay = test.host.replays.start(to(Target::Group(GROUP.into()))).await.unwrap();
    assert_eq!(replay.until, Position(150));
    work_until(200).await;
    let now = test.host.replays.get(replay.id).await.unwrap();
    let tail = leader.host.reader.tail().next();
    assert!(now.state != State::Done, "{now:?} {tail}");
    first.unreachable.store(false, Ordering::SeqCst);
    // It is told once more, as a store does after a while.
    publish(150..151).await;
    let done = loop {
        work_until(0).await;
        let replay = test.host.replays.get(replay.id).await.unwrap();
        if replay.state == State::Done {
            break replay;
        }
        leader.clock.advance_us(50_000);
        test.clock.advance_us(50_000);
        tokio::task::yield_now().await;
    };
    assert_eq!(done.done, 150);
    let times = work_until(251).await;
    assert!((0..100).all(|position| times[&position] == 2), "{times:?}");
}

/// Hosts die in the middle of replays: on one host each event is handed in exactly once for each replay, and
/// the order of its key stands.
#[tokio::test]
async fn a_replay_goes_on_where_it_was_whenever_hosts_end() {
    for seed in seeds(60) {
        let mut random = Random::new(seed);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let mut test = host_over(Arc::clone(&store)).await;
        let count = 50 + random.below(400);
        let keys: Vec<String> = (0..count).map(|_| format!("k{}", random.below(20))).collect();
        let keyed = |(n, key): (u128, &String)| NewEvent {
            key: Some(key.clone()),
            data: Bytes::from_static(b"1"),
            // Some of a page are due together.
            time: Some(Timestamp(n as i64 / 7 * 2_000)),
            ..event(n + 1)
        };
        let events = (0..).zip(&keys).map(keyed).collect();
        test.host.publisher.append(Append { events, ..append("s", 0) }).await.unwrap();
        let mut member = group(&test, GroupConfig::default()).await;
        while !work(&test, &member).await.is_empty() {}
        let (a, b) = (random.below(count), random.below(count));
        let pace = match random.below(3) {
            0 => rate(1 + random.below(50_000)),
            1 => Pace { events_per_second: None, speed: Some(1.0) },
            _ => Pace::default(),
        };
        let new = NewReplay {
            from: Start::Position(a.min(b)),
            until: Some(Start::Position(a.max(b))),
            pace,
            ..to(Target::Group(GROUP.into()))
        };
        let id = test.host.replays.start(new).await.unwrap().id;
        let mut times: BTreeMap<u64, u32> = BTreeMap::new();
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        loop {
            for position in work(&test, &member).await {
                *times.entry(position).or_default() += 1;
                let before = last.insert(&keys[position as usize], position);
                assert!(before < Some(position), "{position} came behind {before:?}");
            }
            test.clock.advance_us(random.below(5_000) as i64);
            if random.percent(10) {
                // Somewhere in the middle.
                for _ in 0..random.below(10) {
                    tokio::task::yield_now().await;
                }
                test.host.stop().await;
                test = host_later(Arc::clone(&store), test.clock.now()).await;
                member = test.host.groups.join(GROUP, "ann").await.unwrap();
            }
            if random.percent(5) {
                let _ = test.host.replays.pause(id).await;
                tokio::task::yield_now().await;
                let _ = test.host.replays.resume(id).await;
            }
            let replay = test.host.replays.get(id).await.unwrap();
            assert!(!matches!(replay.state, State::Failed | State::Cancelled), "{replay:?}");
            if replay.state == State::Done && times.values().sum::<u32>() as u64 >= a.max(b) - a.min(b) {
                assert_eq!(replay.done, a.max(b) - a.min(b));
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(work(&test, &member).await.is_empty());
        assert_eq!(times, (a.min(b)..a.max(b)).map(|position| (position, 1)).collect());
        test.host.stop().await;
    }
}
