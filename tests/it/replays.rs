//! Replays over real processes: at their pace, beside what is new, through kill -9.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use wasmill_server::proto::replay_plan::Target;
use wasmill_server::proto::replay_service_client::ReplayServiceClient;
use wasmill_server::proto::{ReceiveReplayRequest, ReplayPlan, StartReplayRequest};

use crate::support::TestHost;
use crate::support::flights::rust_component;
use crate::support::host::PATIENCE;
use crate::support::rng::Rng;

const STREAM: &str = "order-1";

async fn publish(host: &TestHost, from: u64, count: u64) {
    let events: Vec<Value> = (from..from + count)
        .map(|n| json!({ "type": "t", "key": format!("k{}", n % 50), "data": { "n": n } }))
        .collect();
    for events in events.chunks(1_000) {
        host.publish(STREAM, &json!(events)).await;
    }
}

async fn start(host: &TestHost, body: &Value) -> Value {
    let (status, replay) = host.send("POST", "/api/replays", &[], &body.to_string()).await;
    assert_eq!(status, 201, "{replay}");
    replay
}

async fn act(host: &TestHost, id: &str, verb: &str) -> (u16, Value) {
    host.send("POST", &format!("/api/replays/{id}/{verb}"), &[], "").await
}

async fn show(host: &TestHost, id: &str) -> Value {
    let (status, replay) = host.get(&format!("/api/replays/{id}")).await;
    assert_eq!(status, 200, "{replay}");
    replay
}

/// Asks until the replay is as it should be.
async fn becomes(host: &TestHost, id: &str, is: impl Fn(&Value) -> bool) -> Value {
    let asking = async {
        loop {
            let replay = show(host, id).await;
            if is(&replay) {
                return replay;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, asking).await.expect("the replay comes so far")
}

fn id(replay: &Value) -> String {
    replay["id"].as_str().expect("an id").to_owned()
}

/// A member of a group over HTTP. What is answered is remembered by offset.
struct Member {
    session: String,
    acked: BTreeMap<u64, u32>,
}

impl Member {
    async fn join(host: &TestHost) -> String {
        let (status, joined) = host.send("POST", "/api/groups/g/members", &[], r#"{"member":"w"}"#).await;
        assert_eq!(status, 201, "{joined}");
        joined["session"].as_str().expect("a session").to_owned()
    }

    async fn new(host: &TestHost) -> Self {
        let (status, group) = host.send("PUT", "/api/groups/g", &[], r#"{"config":{"streams":["order-*"]}}"#).await;
        assert_eq!(status, 201, "{group}");
        Self { session: Self::join(host).await, acked: BTreeMap::new() }
    }

    /// Takes what there is, and does not wait to hear what came of its acknowledgement.
    async fn work_and_vanish(&mut self, host: &TestHost) {
        let pull = json!({ "session": self.session, "limit": 100, "waitMs": 100 }).to_string();
        let (status, pulled) = host.send("POST", "/api/groups/g/pull", &[], &pull).await;
        assert_eq!(status, 200, "{pulled}");
        let half: Vec<&Value> = pulled["deliveries"].as_array().expect("deliveries").iter().step_by(2).collect();
        let tokens: Vec<&Value> = half.iter().map(|delivery| &delivery["token"]).collect();
        let ack = json!({ "session": self.session, "tokens": tokens }).to_string();
        let sent = reqwest::Client::new().post(host.path("/api/groups/g/ack")).body(ack).send();
        if tokens.is_empty() || timeout(Duration::from_millis(1), sent).await.is_ok_and(|answer| answer.is_ok()) {
            for delivery in half {
                *self.acked.entry(offset(&delivery["event"])).or_default() += 1;
            }
        }
    }

    /// Takes what there is and acknowledges it; in the order of its keys, which is checked.
    async fn work(&mut self, host: &TestHost, last: &mut BTreeMap<String, u64>) -> usize {
        let pull = json!({ "session": self.session, "limit": 200, "waitMs": 100 }).to_string();
        let (status, pulled) = host.send("POST", "/api/groups/g/pull", &[], &pull).await;
        assert_eq!(status, 200, "{pulled}");
        let deliveries = pulled["deliveries"].as_array().expect("deliveries");
        if deliveries.is_empty() {
            return 0;
        }
        for delivery in deliveries {
            let (key, offset) = (delivery["event"]["key"].as_str().expect("a key"), offset(&delivery["event"]));
            let before = last.insert(key.to_owned(), offset);
            assert!(before.is_none_or(|before| before < offset), "{offset} came behind {before:?} of its key");
        }
        let tokens: Vec<&Value> = deliveries.iter().map(|delivery| &delivery["token"]).collect();
        let ack = json!({ "session": self.session, "tokens": tokens }).to_string();
        let (status, outcomes) = host.send("POST", "/api/groups/g/ack", &[], &ack).await;
        assert_eq!(status, 200, "{outcomes}");
        for (delivery, outcome) in deliveries.iter().zip(outcomes["outcomes"].as_array().expect("outcomes")) {
            if outcome == "durable" {
                *self.acked.entry(offset(&delivery["event"])).or_default() += 1;
            }
        }
        deliveries.len()
    }
}

fn offset(event: &Value) -> u64 {
    event["offset"].as_u64().expect("an offset")
}

#[tokio::test]
async fn a_group_gets_each_event_once_more_though_its_host_is_killed() {
    const EVENTS: u64 = 3_000;
    let mut rng = Rng::printed("replays");
    let mut host = TestHost::start().await;
    publish(&host, 0, EVENTS).await;
    let mut member = Member::new(&host).await;
    let mut last = BTreeMap::new();
    while (member.acked.len() as u64) < EVENTS {
        member.work(&host, &mut last).await;
    }
    let source = json!({ "streams": [STREAM] });
    let (from, until) = (json!({ "offset": 500 }), json!({ "offset": 2_500 }));
    let body = json!({ "group": "g", "source": source, "from": from, "until": until, "eventsPerSecond": 2_000 });
    let begun = start(&host, &body).await;
    assert_eq!((&begun["total"], &begun["totalIsEstimate"]), (&json!(2_000), &json!(false)));
    let id = id(&begun);
    let (mut again, mut order) = (Member { acked: BTreeMap::new(), ..member }, BTreeMap::new());
    for kills in 1..=3_u64 {
        let goal = kills * 500 - rng.below(200);
        let coming = async {
            while show(&host, &id).await["done"].as_u64() < Some(goal) {
                again.work(&host, &mut order).await;
            }
        };
        timeout(PATIENCE, coming).await.expect("it goes on");
        // Killed with some in its hands, and an acknowledgement under way.
        again.work_and_vanish(&host).await;
        let (dir, url) = (host.kill().await, host.url.clone());
        host = TestHost::start_again(dir, &url).await;
        again.session = Member::join(&host).await;
        // What was in flight comes again, behind what was acknowledged.
        order.clear();
    }
    publish(&host, EVENTS, 10).await;
    let finishing =
        async { while show(&host, &id).await["state"] != "done" || again.work(&host, &mut order).await > 0 {} };
    timeout(PATIENCE, finishing).await.expect("it ends");
    let done = show(&host, &id).await;
    assert_eq!((&done["done"], &done["until"]), (&json!(2_000), &json!(2_500)), "{done}");
    let expected: BTreeSet<u64> = (500..2_500).chain(EVENTS..EVENTS + 10).collect();
    // What was acknowledged when the host died may have been settled though nobody was told.
    let seen: BTreeSet<u64> = again.acked.keys().copied().collect();
    assert!(seen.is_subset(&expected), "{:?}", seen.difference(&expected).collect::<Vec<_>>());
    let untold = expected.difference(&seen).count();
    assert!(untold <= 3 * 50, "{untold} are missing");
    assert!(again.acked.values().all(|times| *times == 1), "none was settled twice");
    println!("{} of {} told as settled, each once, through 3 kills", seen.len(), expected.len());
}

#[tokio::test]
async fn what_is_new_does_not_wait_for_a_replay() {
    let host = TestHost::start().await;
    publish(&host, 0, 2_000).await;
    let mut member = Member::new(&host).await;
    while member.acked.len() < 2_000 {
        member.work(&host, &mut BTreeMap::new()).await;
    }
    let id = id(&start(&host, &json!({ "group": "g", "eventsPerSecond": 200 })).await);
    becomes(&host, &id, |replay| replay["done"].as_u64() > Some(10)).await;
    let new = json!([{ "type": "t", "key": "fresh", "data": 1 }]);
    host.publish("order-2", &new).await;
    let arriving = async {
        loop {
            let pull = json!({ "session": member.session, "limit": 1_000, "waitMs": 100 }).to_string();
            let (_, pulled) = host.send("POST", "/api/groups/g/pull", &[], &pull).await;
            let deliveries = pulled["deliveries"].as_array().expect("deliveries");
            if deliveries.iter().any(|delivery| delivery["event"]["stream"] == "order-2") {
                return;
            }
        }
    };
    timeout(PATIENCE, arriving).await.expect("it comes");
    assert_eq!(show(&host, &id).await["state"], "running", "the replay is still under way");
    assert_eq!(act(&host, &id, "cancel").await.1["state"], "cancelled");
    assert_eq!(act(&host, &id, "resume").await.1["code"], "replay_state");
}

/// Positions of server-sent events, until the end or `count` of them.
async fn listen(host: &TestHost, id: &str, last: Option<u64>, count: usize) -> (Vec<u64>, bool) {
    let mut request = reqwest::Client::new().get(host.path(&format!("/api/replays/{id}/events")));
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    let mut answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let (mut text, mut positions) = (String::new(), Vec::new());
    let reading = async {
        loop {
            let Ok(Some(bytes)) = answer.chunk().await else { return false };
            text.push_str(std::str::from_utf8(&bytes).expect("UTF-8"));
            while let Some((message, rest)) = text.split_once("\n\n") {
                if message.starts_with("event: done") {
                    return true;
                }
                let id = message.lines().find_map(|line| line.strip_prefix("id: "));
                if message.contains("data: ") {
                    positions.push(id.expect("an id").parse().expect("a position"));
                }
                text = rest.to_owned();
            }
            if positions.len() >= count {
                return false;
            }
        }
    };
    let over = timeout(PATIENCE, reading).await.expect("in time");
    (positions, over)
}

#[tokio::test]
async fn a_client_goes_on_where_it_was_though_the_host_is_killed() {
    let mut host = TestHost::start().await;
    publish(&host, 0, 3_000).await;
    host.publish("other", &json!([{ "type": "t", "data": 1 }])).await;
    let body = json!({ "client": true, "source": { "streams": [STREAM] }, "eventsPerSecond": 5_000 });
    let id = id(&start(&host, &body).await);
    let (mut got, over) = listen(&host, &id, None, 700).await;
    assert!(!over);
    for goal in [1_400, 2_100] {
        let (dir, url) = (host.kill().await, host.url.clone());
        host = TestHost::start_again(dir, &url).await;
        let (more, over) = listen(&host, &id, got.last().copied(), goal - got.len()).await;
        assert!(!over);
        got.extend(more);
    }
    // The last part over gRPC.
    let mut client = ReplayServiceClient::new(host.channel().await);
    let request = ReceiveReplayRequest { id: id.clone(), after_position: got.last().copied() };
    let mut pages = client.receive_replay(request).await.expect("it is received").into_inner();
    while let Some(page) = timeout(PATIENCE, pages.message()).await.expect("in time").expect("a page") {
        for event in page.events {
            got.push(event.into_event().expect("an event").position().0);
        }
    }
    assert_eq!(got, (0..3_000).collect::<Vec<u64>>());
    assert_eq!(show(&host, &id).await["state"], "done");
    let (status, late) = host.get(&format!("/api/replays/{id}/events")).await;
    assert_eq!(status, 200, "one that is done is over at once: {late}");
}

#[tokio::test]
async fn a_replay_that_rests_is_silent_and_says_how_far_it_is() {
    let host = TestHost::start().await;
    publish(&host, 0, 1_000).await;
    let mut client = ReplayServiceClient::new(host.channel().await);
    let plan =
        ReplayPlan { target: Some(Target::Client(true)), events_per_second: Some(1_000), ..ReplayPlan::default() };
    let request = StartReplayRequest { plan: Some(plan), ..StartReplayRequest::default() };
    let replay = client.start_replay(request).await.expect("it begins").into_inner().replay.expect("a replay");
    let request = ReceiveReplayRequest { id: replay.id.clone(), after_position: None };
    let mut pages = client.receive_replay(request.clone()).await.expect("it is received").into_inner();
    pages.message().await.expect("a page").expect("events");
    assert_eq!(act(&host, &replay.id, "pause").await.1["state"], "paused");
    let second = client.receive_replay(request).await.expect("it is received").into_inner();
    let ended = async {
        loop {
            match pages.message().await {
                Ok(Some(_)) => {}
                ended => return ended,
            }
        }
    };
    let ended = timeout(PATIENCE, ended).await.expect("it is told");
    assert_eq!(ended.expect_err("another has taken its place").code(), tonic::Code::FailedPrecondition);
    drop(second);
    let listed = host.get("/api/replays").await.1;
    let paused = &listed["replays"][0];
    assert_eq!(
        (&paused["state"], &paused["client"], &paused["endsAt"]),
        (&json!("paused"), &json!(true), &Value::Null)
    );
}

#[tokio::test]
async fn a_projection_is_built_anew_and_takes_the_old_ones_place() {
    let host = TestHost::start().await;
    publish(&host, 0, 2_000).await;
    host.deploy(&rust_component()).await;
    let serves = async |host: &TestHost| host.get("/api/projections/flights").await.1["generation"].clone();
    let before = serves(&host).await;
    let id = id(&start(&host, &json!({ "projection": "flights", "eventsPerSecond": 10_000 })).await);
    let done = becomes(&host, &id, |replay| replay["state"] != "running").await;
    assert_eq!((&done["state"], &done["done"]), (&json!("done"), &json!(2_000)), "{done}");
    assert_ne!(serves(&host).await, before);
    let ranged = json!({ "projection": "flights", "from": { "position": 5 } }).to_string();
    let (status, refused) = host.send("POST", "/api/replays", &[], &ranged).await;
    assert_eq!((status, &refused["code"]), (400, &json!("invalid_argument")), "{refused}");
}

#[tokio::test]
async fn what_cannot_be_replayed_is_refused_with_its_reason() {
    let host = TestHost::start().await;
    publish(&host, 0, 3).await;
    let private = r#"{"scope":"internal"}"#;
    assert_eq!(host.send("PUT", "/api/event-streams/private/config", &[], private).await.0, 200);
    for (body, status, code, at) in [
        (json!({}), 400, "invalid_argument", Some("group")),
        (json!({ "group": "g", "client": true }), 400, "invalid_argument", Some("group")),
        (json!({ "group": "none" }), 404, "group_not_found", None),
        (json!({ "projection": "none" }), 404, "projection_not_found", None),
        (json!({ "client": true, "eventsPerSecond": 0 }), 400, "invalid_argument", Some("eventsPerSecond")),
        (json!({ "client": true, "speed": -1 }), 400, "invalid_argument", Some("speed")),
        (json!({ "client": true, "from": { "offset": 1 } }), 400, "invalid_argument", Some("from")),
        (json!({ "client": true, "from": {} }), 400, "invalid_argument", Some("from.position")),
        (json!({ "client": true, "colour": 1 }), 400, "invalid_argument", Some("colour")),
        (json!({ "client": true, "source": { "streams": ["private"] } }), 403, "forbidden", None),
        (
            json!({ "client": true, "from": { "last": true }, "until": { "first": true } }),
            400,
            "invalid_argument",
            Some("until"),
        ),
    ] {
        let (got, refused) = host.send("POST", "/api/replays", &[], &body.to_string()).await;
        assert_eq!((got, refused["code"].as_str()), (status, Some(code)), "{body}: {refused}");
        if let Some(at) = at {
            assert_eq!(refused["details"][0]["at"], at, "{body}: {refused}");
        }
    }
    let unknown = "/api/replays/01a1fe88-0c26-747d-9033-38dfe63555de";
    for path in [unknown, "/api/replays/x", &format!("{unknown}/events")] {
        let (status, refused) = host.get(path).await;
        assert_eq!((status, refused["code"].as_str()), (404, Some("replay_not_found")), "{path}: {refused}");
    }
    // What is private does not come out of a replay of everything either.
    let id = id(&start(&host, &json!({ "client": true })).await);
    assert_eq!(listen(&host, &id, None, 10).await, (vec![0, 1, 2], true));
}
