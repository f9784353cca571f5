//! Handlers: each event is handled once, in the order of its key, whatever fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use uuid::Uuid;
use wasmill_core::event::{Event, Position};
use wasmill_core::group::Which;
use wasmill_core::handler::group_of;
use wasmill_core::host::Host;
use wasmill_core::log::filter::Filter;
use wasmill_core::plugin::deploy::DeployError;
use wasmill_core::plugin::settings::Wanted;
use wasmill_core::plugin::status::State;
use wasmill_core::random::{Random, seeds};
use wasmill_core::store::Store;
use wasmill_core::store::memory::MemoryStore;

use crate::support::{Engine, Losing, deploy, event, fresh, handler, host_over, publish, read_all, until};

async fn settled(host: &Host, tail: Position) -> bool {
    let status = host.groups.status(&group_of("h")).await;
    status.is_ok_and(|status| status.position > tail && status.unsettled == 0)
}

/// Causes and what came of them, in the order of the log.
async fn emitted(host: &Host) -> Vec<(Uuid, Event)> {
    let all = read_all(host, &Filter::default()).await;
    let out = all.into_iter().filter(|event| event.stream() == "out");
    out.map(|event| (event.origin().causation_id.unwrap().parse().unwrap(), event)).collect()
}

fn count_of(event: &Event) -> u64 {
    let data: Value = serde_json::from_slice(event.data()).unwrap();
    data["count"].as_u64().unwrap()
}

async fn quick_retries(host: &Host) {
    let quick = |settings: &mut wasmill_core::plugin::settings::Settings| settings.retry.base_ms = Some(1);
    host.plugins.change_settings("h", None, quick).await.unwrap();
}

#[tokio::test]
async fn nothing_is_granted_by_default() {
    let (_, _, host) = fresh().await;
    let refused = host.plugins.deploy(handler(&[]), &Default::default()).await.unwrap_err();
    let DeployError::Setup(broken) = refused else { panic!("{refused}") };
    assert_eq!(broken[0].0, "grants.append:out");
    host.stop().await;
}

/// Commits are lost, hosts end, guests fail and crash; in the end every event was handled once.
#[tokio::test]
async fn each_event_is_handled_once_whatever_is_lost() {
    for seed in seeds(12) {
        let mut random = Random::new(seed);
        let losing = Arc::new(Losing {
            memory: MemoryStore::default(),
            percent: Mutex::new(0),
            random: Mutex::new(Random::new(seed ^ 0x5eed)),
        });
        let (store, engine) = (Arc::clone(&losing) as Arc<dyn Store>, Arc::new(Engine::default()));
        let mut host = host_over(&store, &engine).await;
        deploy(&host, handler(&[])).await.unwrap();
        quick_retries(&host).await;
        *losing.percent.lock().unwrap() = 20;
        let mut published: Vec<(Uuid, String)> = Vec::new();
        let mut tail = Position(0);
        for _ in 0..30 {
            let mut events = Vec::new();
            for _ in 0..=random.below(20) {
                let name = *random.pick(&["a", "a", "a", "flaky", "crash", "b"]);
                let key = format!("k{}", random.below(5));
                let one = event(name, Some(&key));
                published.push((one.id, key));
                events.push(one);
            }
            tail = publish(&host, "s", events).await;
            if random.percent(10) {
                *losing.percent.lock().unwrap() = 0;
                host.stop().await;
                host = host_over(&store, &engine).await;
                *losing.percent.lock().unwrap() = 20;
            }
        }
        *losing.percent.lock().unwrap() = 0;
        until("all are handled", async || settled(&host, tail).await.then_some(())).await;
        let emitted = emitted(&host).await;
        assert_eq!(emitted.len(), published.len(), "each once; seed {seed}");
        let mut by_key: HashMap<&str, Vec<Uuid>> = HashMap::new();
        for (cause, event) in &emitted {
            by_key.entry(event.key().unwrap()).or_default().push(*cause);
        }
        for (key, causes) in by_key {
            let wanted: Vec<Uuid> = published.iter().filter(|(_, k)| k == key).map(|(id, _)| *id).collect();
            assert_eq!(causes, wanted, "in the order of key {key}; seed {seed}");
        }
        // State and output are one: what was emitted last tells what is counted.
        let generation = host.plugins.deployment("h").unwrap().serving().unwrap().id;
        let mut counts: HashMap<String, u64> = HashMap::new();
        let causes: HashMap<Uuid, Event> =
            read_all(&host, &Filter::default()).await.into_iter().map(|event| (event.id(), event)).collect();
        for (cause, event) in &emitted {
            let cause = &causes[cause];
            let count = counts.entry(format!("{} 1 {}", cause.event_type(), cause.key().unwrap())).or_default();
            *count += 1;
            assert_eq!(count_of(event), *count, "seed {seed}");
        }
        for (name, count) in counts {
            let stored = store.document(generation, "counts", &name).await.unwrap().unwrap();
            assert_eq!(stored, count.to_string(), "{name}; seed {seed}");
        }
        host.stop().await;
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_handled_is_parked_with_its_key_and_replayed_after_the_mend() {
    let (_, _, host) = fresh().await;
    deploy(&host, handler(&["bad"])).await.unwrap();
    let events = vec![
        event("a", Some("k")),
        event("bad", Some("k")),
        event("a", Some("k")),
        event("a", Some("other")),
        event("astray", Some("third")),
    ];
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let tail = publish(&host, "s", events).await;
    until("the others are handled", async || settled(&host, tail).await.then_some(())).await;
    assert_eq!(emitted(&host).await.iter().map(|(cause, _)| *cause).collect::<Vec<_>>(), [ids[0], ids[3]]);
    let letters = host.groups.dead_letters(&group_of("h"), Position(0), 10).await.unwrap().letters;
    assert_eq!(letters.iter().map(|letter| letter.event.id()).collect::<Vec<_>>(), [ids[1], ids[2], ids[4]]);
    assert!(letters[2].why.error.contains("elsewhere"), "{}", letters[2].why.error);
    let status = host.plugins.status("h").await.unwrap();
    assert_eq!((status.state, status.dead_letters, status.position), (State::Live, 3, Position(tail.0 + 3)));
    // The mended revision goes on with the state of the last.
    assert_eq!(deploy(&host, handler(&[])).await.unwrap().plugin.current.number, 2);
    assert_eq!(host.groups.replay(&group_of("h"), &Which::Key("k".into())).await.unwrap(), 2);
    until("the letters are handled", async || (emitted(&host).await.len() == 4).then_some(())).await;
    assert_eq!(host.plugins.status("h").await.unwrap().dead_letters, 1, "what is replayed is none any more");
    let of_k = emitted(&host).await.into_iter().filter(|(_, event)| event.key() == Some("k"));
    let of_k: Vec<(Uuid, u64)> = of_k.map(|(cause, event)| (cause, count_of(&event))).collect();
    assert_eq!(of_k, [(ids[0], 1), (ids[1], 1), (ids[2], 2)]);
    host.stop().await;
}

#[tokio::test]
async fn one_that_halts_waits_for_a_person() {
    let (_, _, host) = fresh().await;
    deploy(&host, handler(&[])).await.unwrap();
    let tail = publish(&host, "s", vec![event("a", None), event("halt", None), event("a", None)]).await;
    until("it halts", async || (host.plugins.status("h").await.unwrap().state == State::Paused).then_some(())).await;
    assert_eq!(emitted(&host).await.len(), 1);
    host.plugins.change_settings("h", Some(Wanted::Paused), |_| {}).await.unwrap();
    host.plugins.change_settings("h", Some(Wanted::Running), |_| {}).await.unwrap();
    until("it goes on", async || settled(&host, tail).await.then_some(())).await;
    assert_eq!(emitted(&host).await.len(), 3);
    host.stop().await;
}

#[tokio::test]
async fn a_paused_or_stopped_one_handles_nothing_across_restarts() {
    let (store, engine, host) = fresh().await;
    deploy(&host, handler(&[])).await.unwrap();
    host.plugins.change_settings("h", Some(Wanted::Stopped), |_| {}).await.unwrap();
    publish(&host, "s", vec![event("a", None)]).await;
    host.stop().await;
    let host = host_over(&store, &engine).await;
    let tail = publish(&host, "s", vec![event("a", None)]).await;
    assert_eq!(host.plugins.status("h").await.unwrap().state, State::Stopped);
    assert_eq!(emitted(&host).await.len(), 0);
    host.plugins.change_settings("h", Some(Wanted::Running), |_| {}).await.unwrap();
    until("it goes on", async || settled(&host, tail).await.then_some(())).await;
    assert_eq!(emitted(&host).await.len(), 2);
    host.stop().await;
}

/// What does not start with its host is stopped then, which is not what its operator has said.
#[tokio::test]
async fn one_that_does_not_start_by_itself_keeps_what_was_said_of_it() {
    let (store, engine, host) = fresh().await;
    deploy(&host, handler(&[])).await.unwrap();
    host.plugins.change_settings("h", None, |settings| settings.auto_start = Some(false)).await.unwrap();
    host.stop().await;
    let host = host_over(&store, &engine).await;
    assert_eq!(host.plugins.status("h").await.unwrap().state, State::Stopped);
    let settings = host.plugins.change_settings("h", None, |settings| settings.attempts = Some(3)).await.unwrap();
    assert_eq!((settings.wanted, settings.attempts), (Wanted::Stopped, Some(3)), "another setting does not start it");
    host.plugins.change_settings("h", None, |settings| settings.auto_start = None).await.unwrap();
    assert_eq!(host.plugins.status("h").await.unwrap().state, State::Stopped);
    host.stop().await;
    let host = host_over(&store, &engine).await;
    assert_ne!(host.plugins.status("h").await.unwrap().state, State::Stopped, "nobody has stopped it");
    host.stop().await;
}

/// An operator hands events in again: what they bring about is there already, and is not doubled.
#[tokio::test]
async fn an_event_that_is_handled_again_emits_nothing_new() {
    let (_, _, host) = fresh().await;
    deploy(&host, handler(&[])).await.unwrap();
    let tail = publish(&host, "s", vec![event("a", Some("x")), event("a", Some("y"))]).await;
    until("they are handled", async || settled(&host, tail).await.then_some(())).await;
    host.groups.reset(&group_of("h"), wasmill_core::group::Start::First).await.unwrap();
    // The state counts on, so what it would emit now differs from what it has emitted: that is refused.
    until("they are parked", async || {
        let letters = host.groups.dead_letters(&group_of("h"), Position(0), 10).await.unwrap().letters;
        (letters.len() == 2).then_some(())
    })
    .await;
    assert_eq!(emitted(&host).await.len(), 2);
    host.stop().await;
}
