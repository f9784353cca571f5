//! Upcasters: every reader reads the newest version.

use bytes::Bytes;
use serde_json::{Value, json};
use wasmill_core::event::{Event, NewEvent, Offset, Position};
use wasmill_core::group::{GroupConfig, Start};
use wasmill_core::host::Host;
use wasmill_core::log::filter::{Filter, FilterTerm};
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::plugin::deploy::DeployError;
use wasmill_core::projection::query::WaitFor;
use wasmill_core::store::{Direction, PageLimit};

use crate::support::{component, deploy, event, fresh, host_over, publish, read_all, until, upcaster};

const PAGE: PageLimit = PageLimit { events: 100, bytes: 1 << 20 };

fn versioned(event_type: &str, version: u32, data: Value) -> NewEvent {
    NewEvent { schema_version: version, data: Bytes::from(data.to_string()), ..event(event_type, None) }
}

fn seen(events: &[Event]) -> Vec<(String, u32, u64)> {
    let lifted = |event: &Event| {
        let data: Value = serde_json::from_slice(event.data()).unwrap();
        data["lifted"].as_u64().unwrap_or(0)
    };
    events.iter().map(|e| (e.event_type().to_owned(), e.schema_version(), lifted(e))).collect()
}

fn to_3() -> Vec<(String, u32, u64)> {
    vec![("thing".into(), 3, 2), ("thing".into(), 3, 1), ("thing".into(), 3, 0), ("thing".into(), 3, 2)]
}

async fn publish_versions(host: &Host) -> Position {
    let events = vec![
        versioned("thing", 1, json!({})),
        versioned("thing", 2, json!({})),
        versioned("thing", 3, json!({})),
        versioned("old", 1, json!({})),
    ];
    publish(host, "s", events).await
}

async fn deploy_both(host: &Host) {
    deploy(host, upcaster("first", json!([{"type":"thing","version":1,"toVersion":2}]), &[])).await.unwrap();
    let lifts = json!([{"type":"thing","version":2,"toVersion":3},
        {"type":"old","version":1,"toType":"thing","toVersion":2}]);
    deploy(host, upcaster("second", lifts, &["broken"])).await.unwrap();
}

fn of_type(name: &str) -> Filter {
    let types = vec![Pattern::new(name).unwrap()];
    Filter::new(vec![FilterTerm { types, ..FilterTerm::default() }])
}

#[tokio::test]
async fn every_reader_gets_the_newest_version() {
    let (store, engine, host) = fresh().await;
    publish_versions(&host).await;
    deploy_both(&host).await;
    for host in [&host, &host_over(&store, &engine).await] {
        assert_eq!(seen(&read_all(host, &Filter::default()).await), to_3());
        assert_eq!(seen(&read_all(host, &of_type("thing")).await), to_3(), "a filter sees what it becomes");
        assert_eq!(seen(&read_all(host, &of_type("old")).await), []);
        let stream = StreamName::from_stored("s");
        let page = host.reader.stream_page(&stream, Offset(0), Direction::Backward, PAGE).await.unwrap();
        assert_eq!(seen(&page.events), to_3()[..1]);
        let mut follower = host.reader.follow_stream(stream, Offset(0));
        assert_eq!(seen(&follower.next_page(PAGE).await.unwrap()), to_3());
        let mut follower = host.reader.follow_log(Position(0), of_type("thing"));
        assert_eq!(seen(&follower.next_page(PAGE).await.unwrap().events), to_3());
        let raw = host.reader.raw().log_page(Position(0), Direction::Forward, &Filter::default(), PAGE).await.unwrap();
        let kept: Vec<_> = raw.events.iter().map(|event| (event.event_type(), event.schema_version())).collect();
        assert_eq!(kept, [("thing", 1), ("thing", 2), ("thing", 3), ("old", 1)]);
    }
    host.stop().await;
}

#[tokio::test]
async fn groups_and_dead_letters_get_the_newest_version() {
    let (_, _, host) = fresh().await;
    deploy_both(&host).await;
    publish_versions(&host).await;
    let config = GroupConfig { types: vec!["thing".into()], ..GroupConfig::default() };
    host.groups.create("g", config, Start::First).await.unwrap();
    let member = host.groups.join("g", "m").await.unwrap();
    let handed = member.pull(PAGE, wasmill_core::clock::Timestamp(i64::MAX)).await.unwrap();
    assert_eq!(seen(&handed.iter().map(|one| one.event.clone()).collect::<Vec<_>>()), to_3());
    let tokens = handed.iter().map(|one| one.token).collect();
    let nack = wasmill_core::group::Nack::Park { error: "no".into() };
    member.nack(tokens, nack).await.unwrap();
    let letters = host.groups.dead_letters("g", Position(0), 10).await.unwrap().letters;
    assert_eq!(seen(&letters.iter().map(|letter| letter.event.clone()).collect::<Vec<_>>()), to_3());
    host.stop().await;
}

#[tokio::test]
async fn what_cannot_be_lifted_is_told_to_readers_and_parked_by_groups() {
    let (_, _, host) = fresh().await;
    deploy_both(&host).await;
    let events = vec![
        versioned("thing", 1, json!({})),
        versioned("thing", 1, json!({"broken": true})),
        versioned("thing", 2, json!({"flaky": true})),
    ];
    publish(&host, "s", events).await;
    let read = read_all(&host, &Filter::default()).await;
    let errors: Vec<Option<&str>> = read.iter().map(Event::upcast_error).collect();
    assert!(errors[1].unwrap().starts_with("second@1: "), "{errors:?}");
    assert_eq!((errors[0], errors[2]), (None, None), "the others are lifted, by retries too");
    assert_eq!(
        (read[1].schema_version(), read[1].data()),
        (1, &br#"{"broken":true}"#[..]),
        "it is as it was published"
    );
    host.groups.create("g", GroupConfig::default(), Start::First).await.unwrap();
    let member = host.groups.join("g", "m").await.unwrap();
    let handed = member.pull(PAGE, wasmill_core::clock::Timestamp(i64::MAX)).await.unwrap();
    assert_eq!(handed.len(), 1, "what is behind it in its key follows it");
    let letters = host.groups.dead_letters("g", Position(0), 10).await.unwrap().letters;
    assert_eq!(letters.len(), 2);
    assert!(letters[0].why.error.contains("as told"), "{:?}", letters[0].why);
    host.stop().await;
}

#[tokio::test]
async fn a_projection_is_built_anew_by_the_new_upcasters() {
    let (_, _, host) = fresh().await;
    deploy(&host, component("projection", "p", json!({}), &[])).await.unwrap();
    let last = publish_versions(&host).await;
    let count = async |name: &str| {
        let wait = Some(WaitFor { position: last, timeout: WaitFor::TIMEOUT_MAX });
        host.projections.document("p", "counts", name, wait).await.ok().map(|answer| answer.value)
    };
    assert_eq!(count("thing 1 -").await.unwrap(), "1");
    let before = host.plugins.deployment("p").unwrap().serving().unwrap().id;
    deploy_both(&host).await;
    until("both have led to a build", async || {
        let serving = host.plugins.deployment("p").unwrap().serving().unwrap();
        (serving.id != before && serving.lifts == 2).then_some(())
    })
    .await;
    assert_eq!(count("thing 3 -").await.unwrap(), "4");
    assert_eq!(count("thing 1 -").await, None);
    // What is of no use to it does not build it anew.
    let serving = host.plugins.deployment("p").unwrap().serving().unwrap().id;
    host.plugins.remove("first").await.unwrap();
    until("without the first, version 1 stays", async || (count("thing 1 -").await.is_some()).then_some(())).await;
    assert_ne!(host.plugins.deployment("p").unwrap().serving().unwrap().id, serving);
    host.stop().await;
}

#[tokio::test]
async fn upcasters_that_do_not_go_together_are_refused() {
    let (_, _, host) = fresh().await;
    deploy_both(&host).await;
    let twice = upcaster("third", json!([{"type":"thing","version":1,"toVersion":3}]), &[]);
    let refused = deploy(&host, twice).await.unwrap_err();
    assert!(matches!(refused, DeployError::Lifts(_)), "{refused}");
    let circle = upcaster("third", json!([{"type":"thing","version":3,"toType":"old","toVersion":1}]), &[]);
    let refused = deploy(&host, circle).await.unwrap_err().to_string();
    assert!(refused.contains("lifted in a circle"), "{refused}");
    assert_eq!(host.plugins.list().len(), 2);
    host.stop().await;
}

#[tokio::test]
async fn an_upcaster_that_crashes_rests_and_then_goes_on() {
    let (_, _, host) = fresh().await;
    deploy_both(&host).await;
    let bad = (0..4).map(|_| versioned("thing", 2, json!({"crash": true})));
    let events = bad.chain([versioned("thing", 2, json!({}))]).collect();
    publish(&host, "s", events).await;
    let read = read_all(&host, &Filter::default()).await;
    assert!(read[..4].iter().all(|event| event.upcast_error().is_some()));
    assert!(read[3].upcast_error().unwrap().contains("it rests"), "{:?}", read[3].upcast_error());
    let last = publish(&host, "t", vec![versioned("thing", 2, json!({}))]).await;
    until("it goes on", async || {
        let page = host.reader.log_page(last, Direction::Forward, &Filter::default(), PAGE).await.unwrap();
        (page.events[0].schema_version() == 3).then_some(())
    })
    .await;
    host.stop().await;
}
