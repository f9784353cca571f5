//! Schedules: events for a time, once for each, whatever happens to the host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt;
use wasmill_core::event::Event;
use wasmill_server::proto::schedule::When;
use wasmill_server::proto::schedule_service_client::ScheduleServiceClient;
use wasmill_server::proto::{
    AppendRequest, Cron, FollowStreamRequest, GetScheduleRequest, ListSchedulesRequest, Missed, NewEvent,
    PauseScheduleRequest, PutScheduleRequest, RemoveScheduleRequest, ResumeScheduleRequest, Schedule,
};
use wasmill_test_postgres::Postgres;

use crate::support::TestHost;
use crate::support::host::PATIENCE;

const SECOND_US: i64 = 1_000_000;

async fn put(host: &TestHost, name: &str, body: &Value) -> (u16, Value) {
    host.send("PUT", &format!("/api/schedules/{name}"), &[], &body.to_string()).await
}

async fn make(host: &TestHost, name: &str, body: &Value) -> Value {
    let (status, schedule) = put(host, name, body).await;
    assert_eq!(status, 200, "{schedule}");
    schedule
}

fn ticks(stream: &str, when: &Value) -> Value {
    let mut body = json!({ "stream": stream, "event": { "type": "tick", "data": { "n": 1 } } });
    for (field, value) in when.as_object().expect("fields") {
        body[field] = value.clone();
    }
    body
}

/// The first `count` events of a stream, when they are there.
async fn published(host: &TestHost, stream: &str, count: usize) -> Vec<Event> {
    let request = FollowStreamRequest { stream: stream.into(), from_offset: Some(0), ..FollowStreamRequest::default() };
    let mut pages = host.log().await.follow_stream(request).await.expect("followed").into_inner();
    let mut events = Vec::new();
    while events.len() < count {
        let page = tokio::time::timeout(PATIENCE, pages.message()).await.expect("in time").expect("read");
        let page = page.expect("a page").events.into_iter();
        events.extend(page.map(|event| event.into_event().expect("an event")));
    }
    events
}

/// Waits until a schedule is as it is wanted, or gone.
async fn becomes(host: &TestHost, name: &str, wanted: impl Fn(u16, &Value) -> bool) -> Value {
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(20)));
    loop {
        pace.tick().await;
        let (status, schedule) = host.get(&format!("/api/schedules/{name}")).await;
        if wanted(status, &schedule) {
            return schedule;
        }
        assert!(Instant::now() < until, "not within {PATIENCE:?}: {schedule}");
    }
}

#[tokio::test]
async fn an_interval_is_published_for_each_of_its_times() {
    let host = TestHost::start().await;
    let made = make(&host, "ticks", &ticks("s", &json!({ "everyMs": 1000 }))).await;
    assert_eq!((&made["name"], &made["missed"], &made["paused"]), (&json!("ticks"), &json!("once"), &json!(false)));
    let events = published(&host, "s", 3).await;
    for (one, other) in events.iter().zip(&events[1..]) {
        assert_eq!(other.time().0 - one.time().0, SECOND_US);
        assert_ne!(one.id(), other.id());
    }
    assert!(events.iter().all(|event| event.recorded_at() >= event.time() && event.data() == br#"{"n":1}"#));
    let (_, schedule) = host.get("/api/schedules/ticks").await;
    assert!(schedule["published"].as_u64() >= Some(3) && schedule["failed"] == 0, "{schedule}");
    assert_eq!(host.send("DELETE", "/api/schedules/ticks", &[], "").await.0, 204);
    let (status, gone) = host.get("/api/schedules/ticks").await;
    assert_eq!((status, &gone["code"]), (404, &json!("schedule_not_found")), "{gone}");
}

#[tokio::test]
async fn a_single_time_is_published_for_then_and_its_schedule_is_gone() {
    let host = TestHost::start().await;
    let event = || NewEvent { r#type: "due".into(), data: "{}".into(), ..NewEvent::default() };
    let append = AppendRequest { stream: "now".into(), events: vec![event()], ..AppendRequest::default() };
    let now_us = host.log().await.append(append).await.expect("taken").into_inner().recorded_at_us;
    let at_us = now_us + SECOND_US * 3 / 2;
    let mut schedules = ScheduleServiceClient::new(host.channel().await);
    let schedule = Schedule {
        name: "soon".into(),
        stream: "soon".into(),
        event: Some(event()),
        when: Some(When::AtUs(at_us)),
        ..Schedule::default()
    };
    schedules.put_schedule(PutScheduleRequest { schedule: Some(schedule) }).await.expect("made");
    make(&host, "past", &ticks("past", &json!({ "at": "2001-01-01T00:00:00+01:00" }))).await;
    let past = published(&host, "past", 1).await;
    assert_eq!(past[0].time().0, 978_303_600 * SECOND_US);
    let soon = published(&host, "soon", 1).await;
    assert_eq!(soon[0].time().0, at_us);
    assert!(soon[0].recorded_at().0 >= at_us, "not before its time");
    for name in ["past", "soon"] {
        becomes(&host, name, |status, _| status == 404).await;
    }
}

#[tokio::test]
async fn a_schedule_is_shown_as_it_was_put() {
    let host = TestHost::start().await;
    let event = json!({ "type": "t", "schemaVersion": 2, "key": "k", "time": "2020-01-01T00:00:00Z", "tags": ["a"],
        "data": { "b": 1 }, "headers": { "h": "1" }, "correlationId": "c" });
    let body = json!({ "stream": "s", "event": event, "cron": "0 9 * * MON", "timeZone": "Europe/Berlin",
        "missed": "skip" });
    let made = make(&host, "a b/c".replace(' ', "%20").replace('/', "%2F").as_str(), &body).await;
    for (field, value) in body.as_object().expect("fields") {
        assert_eq!(&made[field], value, "{made}");
    }
    assert_eq!((&made["name"], &made["published"]), (&json!("a b/c"), &json!(0)));
    let next = made["next"].as_str().expect("a time");
    assert!(next.ends_with("T07:00:00Z") || next.ends_with("T08:00:00Z"), "nine o'clock in Berlin: {next}");
    assert_eq!(host.get("/api/schedules/a%20b%2Fc").await, (200, made.clone()));

    let (status, paused) = host.send("POST", "/api/schedules/a%20b%2Fc/pause", &[], "").await;
    assert_eq!((status, &paused["paused"], paused.get("next")), (200, &json!(true), None), "{paused}");
    let (status, resumed) = host.send("POST", "/api/schedules/a%20b%2Fc/resume", &[], "").await;
    assert_eq!((status, &resumed["paused"], &resumed["next"]), (200, &json!(false), &made["next"]), "{resumed}");

    let day = ticks("s", &json!({ "everyMs": 86_400_000 })).to_string();
    let made = reqwest::Client::new().post(host.path("/api/schedules")).body(day).send().await.expect("answered");
    assert_eq!(made.status().as_u16(), 201);
    let location = made.headers()["location"].to_str().expect("a path").to_owned();
    let (status, shown) = host.get(&location).await;
    assert_eq!((status, &shown["everyMs"], shown.get("cron")), (200, &json!(86_400_000), None), "{shown}");
    let (_, first) = host.get("/api/schedules?limit=1").await;
    let after = first["nextAfter"].as_str().expect("there is another");
    let (_, second) = host.get(&format!("/api/schedules?limit=1&after={after}")).await;
    let names = [&first, &second].map(|page| page["schedules"][0]["name"].as_str().expect("a name").to_owned());
    assert_eq!(names, [shown["name"].as_str().expect("a name").to_owned(), "a b/c".to_owned()]);
    assert_eq!(second.get("nextAfter"), None);
}

#[tokio::test]
async fn every_mistake_is_named() {
    let host = TestHost::start().await;
    let event = json!({ "type": "t", "data": 1 });
    for (body, code, at) in [
        (json!({}), "invalid_argument", &["stream", "at", "event"][..]),
        (json!({ "stream": "$s", "event": event, "everyMs": 1 }), "invalid_argument", &["stream", "everyMs"]),
        (json!({ "stream": "s", "event": event, "everyMs": 1000, "at": "noon" }), "invalid_argument", &["everyMs"]),
        (json!({ "stream": "s", "event": event, "at": "noon" }), "invalid_argument", &["at"]),
        (json!({ "stream": "s", "event": event, "cron": "61 * * * *" }), "invalid_argument", &["cron"]),
        (json!({ "stream": "s", "event": event, "cron": "0 0 30 2 *" }), "invalid_argument", &["when"]),
        (json!({ "stream": "s", "event": event, "everyMs": 1000, "colour": 1 }), "invalid_argument", &["colour"]),
        (json!({ "stream": "s", "event": { "type": "t" }, "everyMs": 1000 }), "invalid_event", &["event.data"]),
        (
            json!({ "stream": "s", "event": { "type": "$t", "key": "", "data": 1 }, "everyMs": 1000 }),
            "invalid_event",
            &["event.type", "event.key"],
        ),
    ] {
        let (status, problem) = put(&host, "s", &body).await;
        assert_eq!((status, &problem["code"]), (400, &json!(code)), "{body}: {problem}");
        let named: Vec<_> = problem["details"].as_array().expect("details").iter().map(|it| it["at"].clone()).collect();
        assert_eq!(named, at, "{body}: {problem}");
    }
    let (status, problem) = put(&host, "%24s", &ticks("s", &json!({ "everyMs": 1000 }))).await;
    assert_eq!((status, &problem["details"][0]["at"]), (400, &json!("name")), "{problem}");
    assert_eq!(host.get("/api/schedules").await, (200, json!({ "schedules": [] })));
    for (method, path) in [("DELETE", "s"), ("POST", "s/pause"), ("POST", "s/resume")] {
        let (status, problem) = host.send(method, &format!("/api/schedules/{path}"), &[], "").await;
        assert_eq!((status, &problem["code"]), (404, &json!("schedule_not_found")), "{problem}");
    }
}

#[tokio::test]
async fn a_stream_that_clients_may_not_publish_to_has_no_schedules_for_them() {
    let host = TestHost::start().await;
    let day = |stream: &str| ticks(stream, &json!({ "everyMs": 86_400_000 }));
    make(&host, "open", &day("open")).await;
    make(&host, "closed", &day("closed")).await;
    let config = r#"{"access":{"publish":"plugins"}}"#;
    assert_eq!(host.send("PUT", "/api/event-streams/closed/config", &[], config).await.0, 200);
    let (_, list) = host.get("/api/schedules").await;
    let names: Vec<_> = list["schedules"].as_array().expect("schedules").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["open"]);
    for (method, path, body) in [
        ("GET", "closed", String::new()),
        ("DELETE", "closed", String::new()),
        ("POST", "closed/pause", String::new()),
        ("PUT", "closed", day("open").to_string()),
        ("PUT", "open", day("closed").to_string()),
    ] {
        let (status, problem) = host.send(method, &format!("/api/schedules/{path}"), &[], &body).await;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{method} {path}: {problem}");
    }
}

#[tokio::test]
async fn no_time_is_left_out_or_published_twice_when_the_host_is_killed() {
    let mut host = TestHost::start().await;
    make(&host, "ticks", &ticks("s", &json!({ "everyMs": 1000, "missed": "all" }))).await;
    for n in 1..=3 {
        published(&host, "s", 2 * n).await;
        let dir = host.kill().await;
        host = TestHost::start_in(dir).await;
    }
    let events = published(&host, "s", 8).await;
    let first = events[0].time().0;
    for (event, n) in events.iter().zip(0..) {
        assert_eq!(event.time().0, first + n * SECOND_US, "{n}");
    }
}

/// The host that is left goes on where the other has ended, whichever of them fired what was due.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_hosts_one_goes_on_with_the_schedules_when_the_other_is_killed() {
    let postgres = Postgres::start();
    let database = postgres.create_database();
    let store = ["--store", database.as_str()];
    let folder = || Arc::new(tempfile::tempdir().expect("a folder"));
    let (mut first, second) =
        (TestHost::start_with(folder(), &store).await, TestHost::start_with(folder(), &store).await);
    make(&second, "ticks", &ticks("s", &json!({ "everyMs": 1000, "missed": "all" }))).await;
    let before = published(&second, "s", 2).await.len();
    first.kill().await;
    let events = published(&second, "s", before + 3).await;
    let start = events[0].time().0;
    for (event, n) in events.iter().zip(0..) {
        assert_eq!(event.time().0, start + n * SECOND_US, "{n}");
    }
}

#[tokio::test]
async fn the_same_goes_over_grpc() {
    let host = TestHost::start().await;
    let mut schedules = ScheduleServiceClient::new(host.channel().await);
    let event = NewEvent { r#type: "t".into(), key: Some("k".into()), data: "1".into(), ..NewEvent::default() };
    let cron = Cron { expression: "@daily".into(), time_zone: String::new() };
    let mut schedule = Schedule {
        stream: "s".into(),
        event: Some(event.clone()),
        when: Some(When::Cron(cron)),
        missed: Missed::All.into(),
        ..Schedule::default()
    };
    let made = schedules.put_schedule(PutScheduleRequest { schedule: Some(schedule.clone()) }).await.expect("made");
    let made = made.into_inner().schedule.expect("a schedule");
    assert_eq!((made.missed(), made.stream.as_str(), made.paused), (Missed::All, "s", false));
    assert_eq!(made.when, Some(When::Cron(Cron { expression: "@daily".into(), time_zone: "UTC".into() })));
    assert_eq!(made.event, Some(NewEvent { schema_version: 1, ..event }));
    let name = made.name.clone();
    assert!(name.parse::<uuid::Uuid>().is_ok(), "the host has made {name}");
    let found = schedules.get_schedule(GetScheduleRequest { name: name.clone() }).await.expect("found").into_inner();
    assert_eq!(found.schedule.as_ref(), Some(&made));
    let list = schedules.list_schedules(ListSchedulesRequest::default()).await.expect("listed").into_inner();
    assert_eq!((list.schedules, list.next_after.as_str()), (vec![made.clone()], ""));
    let paused = schedules.pause_schedule(PauseScheduleRequest { name: name.clone() }).await.expect("paused");
    let paused = paused.into_inner().schedule.expect("a schedule");
    assert_eq!((paused.paused, paused.next_us), (true, None));
    let resumed = schedules.resume_schedule(ResumeScheduleRequest { name: name.clone() }).await.expect("resumed");
    assert_eq!(resumed.into_inner().schedule, Some(made));
    schedules.remove_schedule(RemoveScheduleRequest { name: name.clone() }).await.expect("removed");
    let gone = schedules.get_schedule(GetScheduleRequest { name }).await.expect_err("gone");
    assert_eq!(gone.code(), Code::NotFound);
    schedule.when = None;
    schedule.event = None;
    let refused = schedules.put_schedule(PutScheduleRequest { schedule: Some(schedule) }).await.expect_err("refused");
    let violations = refused.get_error_details().bad_request().expect("violations").field_violations.clone();
    let fields: Vec<_> = violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!((refused.code(), fields), (Code::InvalidArgument, vec!["when", "event"]));
}
