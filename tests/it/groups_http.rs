//! Consumer groups over HTTP: members, settlements, dead letters, and the paths that were there before.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::TestHost;
use crate::support::host::PATIENCE;

async fn post(host: &TestHost, path: &str, body: Value) -> (u16, Value) {
    host.send("POST", path, &[], &body.to_string()).await
}

/// Makes a group that hands out refused events again at once.
pub async fn make(host: &TestHost, name: &str, config: Value) {
    let mut config = config;
    config["retry"] = json!({ "baseMs": 0 });
    let body = json!({ "config": config }).to_string();
    let (status, group) = host.send("PUT", &format!("/api/groups/{name}"), &[], &body).await;
    assert_eq!(status, 201, "{group}");
}

/// A joined member of a group.
pub struct Member<'a> {
    host: &'a TestHost,
    group: String,
    session: String,
}

impl<'a> Member<'a> {
    pub async fn join(host: &'a TestHost, group: &str, name: &str) -> Self {
        let (status, joined) = post(host, &format!("/api/groups/{group}/members"), json!({ "member": name })).await;
        assert_eq!(status, 201, "{joined}");
        let session = joined["session"].as_str().expect("a session").to_owned();
        Self { host, group: group.into(), session }
    }

    pub async fn call(&self, what: &str, mut body: Value) -> (u16, Value) {
        body["session"] = self.session.as_str().into();
        post(self.host, &format!("/api/groups/{}/{what}", self.group), body).await
    }

    /// Pulls until there is something.
    pub async fn pull(&self, limit: usize) -> Vec<Value> {
        let (status, pulled) = self.call("pull", json!({ "limit": limit, "waitMs": 60_000 })).await;
        assert_eq!(status, 200, "{pulled}");
        let deliveries = pulled["deliveries"].as_array().expect("deliveries").clone();
        assert!(!deliveries.is_empty(), "nothing came within a minute");
        deliveries
    }

    /// What there is now.
    async fn pull_now(&self) -> Vec<Value> {
        let (status, pulled) = self.call("pull", json!({})).await;
        assert_eq!(status, 200, "{pulled}");
        pulled["deliveries"].as_array().expect("deliveries").clone()
    }

    pub async fn ack(&self, deliveries: &[Value]) -> Value {
        let (status, acked) = self.call("ack", json!({ "tokens": tokens(deliveries) })).await;
        assert_eq!(status, 200, "{acked}");
        acked["outcomes"].clone()
    }

    pub async fn nack(&self, deliveries: &[Value], refusal: Value) -> Value {
        let body = json!({ "tokens": tokens(deliveries), "refusal": refusal });
        let (status, nacked) = self.call("nack", body).await;
        assert_eq!(status, 200, "{nacked}");
        nacked["outcomes"].clone()
    }
}

fn tokens(deliveries: &[Value]) -> Vec<Value> {
    deliveries.iter().map(|delivery| delivery["token"].clone()).collect()
}

/// `(key, data)` of each.
fn events(deliveries: &[Value]) -> Vec<(String, u64)> {
    let event = |delivery: &Value| {
        let event = &delivery["event"];
        (event["key"].as_str().unwrap_or_default().to_owned(), event["data"].as_u64().expect("a number"))
    };
    deliveries.iter().map(event).collect()
}

fn keyed(key: &str, numbers: std::ops::Range<u64>) -> Value {
    numbers.map(|n| json!({ "type": "counted", "key": key, "data": n })).collect()
}

/// Asks for a group until it is as wanted.
async fn group_becomes(host: &TestHost, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let (until, mut pace) = (Instant::now() + PATIENCE, tokio::time::interval(Duration::from_millis(20)));
    loop {
        pace.tick().await;
        let (status, group) = host.get(&format!("/api/groups/{name}")).await;
        assert_eq!(status, 200, "{group}");
        if wanted(&group) {
            return group;
        }
        assert!(Instant::now() < until, "within {PATIENCE:?} it has not become so: {group}");
    }
}

/// A member that waits is heard of three times in each session: its deadline moves on.
async fn waits(host: &TestHost, group: &str, sessions: usize) {
    let deadlines = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let heard = |group: &Value| {
        deadlines.borrow_mut().insert(group["members"][0]["deadline"].to_string());
        deadlines.borrow().len() > 3 * sessions
    };
    group_becomes(host, group, heard).await;
}

#[tokio::test]
async fn a_group_is_made_once_and_changed_by_name() {
    let host = TestHost::start().await;
    let put = async |path: &str, headers: &[(&str, &str)], body: &str| host.send("PUT", path, headers, body).await;
    let body = r#"{"config":{"streams":["order-*"],"maxDeliveries":3},"start":{"last":true}}"#;
    let (status, group) = put("/api/groups/billing", &[], body).await;
    assert_eq!((status, &group["name"], &group["paused"]), (201, &json!("billing"), &json!(false)), "{group}");
    assert_eq!((&group["config"]["maxDeliveries"], &group["config"]["mode"]), (&json!(3), &json!("queue")), "{group}");
    assert_eq!(put("/api/groups/billing", &[], body).await.0, 200, "the same again");
    let (status, problem) = put("/api/groups/billing", &[], "{}").await;
    assert_eq!((status, &problem["code"]), (409, &json!("group_exists")), "{problem}");
    let (status, problem) = put("/api/groups/billing", &[("if-none-match", "*")], body).await;
    assert_eq!((status, &problem["code"]), (409, &json!("group_exists")), "{problem}");

    let (status, group) = put("/api/groups/billing/config", &[], r#"{"mode":"exclusive"}"#).await;
    assert_eq!((status, &group["config"]["mode"]), (200, &json!("exclusive")), "{group}");
    assert_eq!(group["config"]["streams"], json!([]), "it replaces all: {group}");
    let (_, group) = host.send("POST", "/api/groups/billing/pause", &[], "").await;
    assert_eq!(group["paused"], json!(true), "{group}");
    let (_, group) = host.send("POST", "/api/groups/billing/resume", &[], "").await;
    assert_eq!(group["paused"], json!(false), "{group}");
    let (_, list) = host.get("/api/groups").await;
    assert_eq!(list["groups"].as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(host.send("DELETE", "/api/groups/billing", &[], "").await.0, 204);
    let (status, problem) = host.get("/api/groups/billing").await;
    assert_eq!((status, &problem["code"]), (404, &json!("group_not_found")), "{problem}");
}

#[tokio::test]
async fn members_share_keys_and_an_acknowledged_event_does_not_come_again() {
    let host = TestHost::start().await;
    make(&host, "g", json!({ "streams": ["s"] })).await;
    host.publish("s", &keyed("a", 0..3)).await;
    host.publish("s", &keyed("b", 0..3)).await;
    let (one, two) = (Member::join(&host, "g", "one").await, Member::join(&host, "g", "two").await);
    let first = one.pull(1).await;
    let key = events(&first)[0].0.clone();
    let others = two.pull(100).await;
    assert!(!key.is_empty() && events(&others).iter().all(|(other, _)| *other != key), "{others:?}");
    assert_eq!(events(&others).iter().map(|(_, n)| *n).collect::<Vec<_>>(), [0, 1, 2], "in their order");
    assert_eq!(one.ack(&first).await, json!(["durable"]));
    assert_eq!(one.ack(&first).await, json!(["superseded"]), "it is settled");
    assert_eq!(two.ack(&others).await, json!(["durable", "durable", "durable"]));
    let rest = one.pull(100).await;
    assert_eq!(events(&rest), [(key.clone(), 1), (key, 2)]);
    let (_, group) = host.get("/api/groups/g").await;
    assert_eq!((&group["inFlight"], &group["unsettled"]), (&json!(2), &json!(2)), "{group}");
    one.ack(&rest).await;
    assert_eq!(two.pull_now().await, [json!(null); 0]);
    let (_, group) = host.get("/api/groups/g").await;
    assert_eq!((&group["position"], &group["lagEvents"]), (&json!(6), &json!(0)), "{group}");
    let path = format!("/api/groups/g/members/{}", one.session);
    assert_eq!(host.send("DELETE", &path, &[], "").await.0, 204);
    let (status, problem) = one.call("heartbeat", json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("session_ended")), "{problem}");
}

#[tokio::test]
async fn a_refused_event_keeps_the_order_of_its_key() {
    let host = TestHost::start().await;
    make(&host, "g", json!({ "streams": ["s"] })).await;
    host.publish("s", &keyed("a", 0..2)).await;
    let member = Member::join(&host, "g", "m").await;
    let run = member.pull(100).await;
    assert_eq!(events(&run).len(), 2);
    assert_eq!(member.nack(&run[..1], json!({ "retry": "not now" })).await, json!(["durable"]));
    assert_eq!(member.ack(&run[1..]).await, json!(["superseded"]), "it came back with the one before it");
    let again = member.pull(100).await;
    assert_eq!(events(&again), events(&run));
    assert_eq!((&again[0]["refused"], &again[0]["lost"], &again[1]["refused"]), (&json!(1), &json!(0), &json!(0)));
    let (status, extended) = member.call("extend", json!({ "tokens": tokens(&again), "ms": 60_000 })).await;
    assert_eq!((status, extended), (200, json!({ "outcomes": ["noted", "noted"] })));
    assert_eq!(member.nack(&again[..1], json!({ "delayMs": 0 })).await, json!(["durable"]));
    let third = member.pull(1).await;
    assert_eq!(third[0]["refused"], json!(1), "a delay is no attempt");
    assert_eq!(member.nack(&third, json!({ "skip": true })).await, json!(["durable"]));
    assert_eq!(events(&member.pull(100).await), [("a".to_owned(), 1)]);
    let (status, skipped) = post(&host, "/api/groups/g/skip", json!({ "position": 1 })).await;
    assert_eq!((status, skipped), (200, json!({ "skipped": true })), "even out of someone's hands");
    assert_eq!(post(&host, "/api/groups/g/skip", json!({ "position": 1 })).await.1, json!({ "skipped": false }));
}

#[tokio::test]
async fn acknowledgements_of_a_manual_group_are_noted_until_they_are_committed() {
    let host = TestHost::start().await;
    make(&host, "g", json!({ "commit": "manual" })).await;
    host.publish("s", &keyed("a", 0..2)).await;
    let member = Member::join(&host, "g", "m").await;
    let run = member.pull(100).await;
    assert_eq!(member.ack(&run).await, json!(["noted", "noted"]));
    assert_eq!(member.call("commit", json!({})).await, (200, json!({ "committed": 2 })));
    assert_eq!(member.call("heartbeat", json!({})).await.0, 204);
}

#[tokio::test]
async fn dead_letters_are_replayed_in_order_mended_and_removed() {
    let host = TestHost::start().await;
    make(&host, "g", json!({ "streams": ["s"] })).await;
    let event = json!({ "type": "counted", "key": "a", "data": 0, "tags": ["t"], "correlationId": "c" });
    host.publish("s", &event).await;
    host.publish("s", &keyed("a", 1..2)).await;
    let member = Member::join(&host, "g", "m").await;
    let first = member.pull(1).await;
    assert_eq!(member.nack(&first, json!({ "park": "no such account" })).await, json!(["durable"]));
    assert_eq!(member.pull_now().await, [json!(null); 0], "the next one of the key follows it");
    let (status, page) = host.get("/api/groups/g/dead-letters").await;
    assert_eq!(status, 200, "{page}");
    let letters = page["deadLetters"].as_array().expect("dead letters");
    let facts: Vec<_> = letters.iter().map(|one| (&one["position"], &one["reason"], &one["event"]["data"])).collect();
    assert_eq!(facts, [(&json!(0), &json!("parked"), &json!(0)), (&json!(1), &json!("follows"), &json!(1))]);
    assert_eq!((&letters[0]["error"], &letters[0]["member"]), (&json!("no such account"), &json!("m")));
    let (_, page) = host.get("/api/groups/g/dead-letters?limit=1").await;
    assert_eq!((page["deadLetters"].as_array().map(Vec::len), &page["next"]), (Some(1), &json!(1)), "{page}");
    let (_, letter) = host.get("/api/groups/g/dead-letters/1").await;
    assert_eq!((&letter["reason"], &letter["event"]["key"]), (&json!("follows"), &json!("a")), "{letter}");
    let (status, problem) = host.get("/api/groups/g/dead-letters/2").await;
    assert_eq!((status, &problem["code"]), (404, &json!("dead_letter_not_found")), "{problem}");

    let replay = async |which: Value| post(&host, "/api/groups/g/dead-letters/replay", which).await;
    let (status, problem) = replay(json!({ "positions": [1] })).await;
    assert_eq!((status, &problem["code"]), (409, &json!("dead_letter_order")), "{problem}");
    assert_eq!(replay(json!({ "key": "a" })).await, (200, json!({ "count": 2 })));
    let again = member.pull(1).await;
    assert_eq!((&again[0]["event"]["data"], &again[0]["refused"]), (&json!(0), &json!(0)), "counted anew");
    member.nack(&again, json!({ "park": "still none" })).await;
    group_becomes(&host, "g", |group| group["unsettled"] == 0).await;

    let mended = json!({ "data": { "n": 0 }, "headers": { "by": "hand" }, "purge": true });
    let (status, sent) = post(&host, "/api/groups/g/dead-letters/0/send", mended).await;
    assert_eq!((status, &sent["stream"], &sent["purged"]), (201, &json!("s"), &json!(true)), "{sent}");
    assert_eq!(sent["firstPosition"], json!(2), "{sent}");
    let (_, page) = host.get("/api/event-streams/s/events?from=2").await;
    let copy = &page["events"][0];
    assert_eq!((&copy["id"], &copy["causationId"]), (&sent["id"], &again[0]["event"]["id"]), "{copy}");
    let kept = [&copy["type"], &copy["key"], &copy["tags"], &copy["correlationId"], &copy["time"]];
    let old = &again[0]["event"];
    assert_eq!(kept, [&json!("counted"), &json!("a"), &json!(["t"]), &json!("c"), &old["time"]]);
    assert_eq!((&copy["data"], &copy["headers"]), (&json!({ "n": 0 }), &json!({ "by": "hand" })));
    let (status, problem) = post(&host, "/api/groups/g/dead-letters/0/send", json!({})).await;
    assert_eq!((status, &problem["code"]), (404, &json!("dead_letter_not_found")), "{problem}");
    let (status, problem) = post(&host, "/api/groups/g/dead-letters/1/send", json!({ "colour": "red" })).await;
    assert_eq!((status, &problem["details"][0]["at"]), (400, &json!("colour")), "{problem}");
    let purged = post(&host, "/api/groups/g/dead-letters/purge", json!({ "all": true })).await;
    assert!(purged.0 == 200 && purged.1["count"].as_u64() >= Some(1), "{purged:?}");
    let (_, page) = host.get("/api/groups/g/dead-letters").await;
    assert_eq!(page["deadLetters"], json!([]));
}

#[tokio::test]
async fn the_old_paths_lead_to_groups() {
    let host = TestHost::start().await;
    make(&host, "g", json!({ "streams": ["s"] })).await;
    host.publish("s", &keyed("a", 0..4)).await;
    let base = "/api/event-streams/subscriptions";
    let (_, list) = host.get(base).await;
    assert_eq!(list["subscriptions"][0]["id"], json!("g"), "{list}");
    let (status, joined) = post(&host, &format!("{base}/g/consumers"), json!({ "consumerId": "m" })).await;
    assert_eq!((status, &joined["consumerId"], &joined["group"]), (201, &json!("m"), &json!("g")), "{joined}");
    let session = joined["session"].as_str().expect("a session").to_owned();
    let member = Member { host: &host, group: "g".into(), session };
    let all = member.pull(100).await;
    assert_eq!(events(&all).len(), 4);
    member.ack(&all[..3]).await;
    let (_, consumers) = host.get(&format!("{base}/g/consumers")).await;
    assert_eq!(consumers["consumers"][0]["consumerId"], json!("m"), "{consumers}");
    let (_, consumer) = host.get(&format!("{base}/g/consumers/m")).await;
    assert_eq!((&consumer["inFlight"], &consumer["groupPosition"]), (&json!(1), &json!(3)), "{consumer}");

    let (status, reset) = post(&host, &format!("{base}/g/consumers/m/reset-offset"), json!({ "offset": 1 })).await;
    assert_eq!((status, &reset["position"], &reset["scope"]), (200, &json!(1), &json!("group")), "{reset}");
    assert!(reset["message"].as_str().is_some_and(|text| text.contains("whole group")), "{reset}");
    assert_eq!(member.ack(&all[3..]).await, json!(["superseded"]));
    assert_eq!(events(&member.pull(1).await), [("a".to_owned(), 1)]);
    let (status, problem) = post(&host, &format!("{base}/g/consumers/m/reset-offset"), json!({})).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_argument")), "{problem}");

    assert_eq!(host.send("DELETE", &format!("{base}/g/consumers/m"), &[], "").await.0, 204);
    let (status, problem) = host.get(&format!("{base}/g/consumers/m")).await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")), "{problem}");
    assert_eq!(host.send("DELETE", &format!("{base}/g/consumers/m"), &[], "").await.0, 404);
    let (_, subscription) = host.get(&format!("{base}/g")).await;
    assert_eq!(subscription["consumers"], json!([]), "{subscription}");
}

#[tokio::test]
async fn every_mistake_is_named() {
    let host = TestHost::start().await;
    make(&host, "g", json!({})).await;
    let unknown = json!({ "session": "0fd3a5b1-6f0e-4a0e-9d1c-5f3f2a7c9b11", "tokens": [1] });
    let (status, problem) = post(&host, "/api/groups/g/ack", unknown).await;
    assert_eq!((status, &problem["code"]), (409, &json!("session_ended")), "{problem}");
    let session = "0fd3a5b1-6f0e-4a0e-9d1c-5f3f2a7c9b11";
    for (method, path, body, at) in [
        ("PUT", "/api/groups/h", json!({ "config": { "ackTimeoutMs": 1 } }), "ackTimeoutMs"),
        ("PUT", "/api/groups/h", json!({ "config": { "ackTimeoutMs": "1s" } }), "config.ackTimeoutMs"),
        ("PUT", "/api/groups/h", json!({ "config": { "colour": 1 } }), "config.colour"),
        ("PUT", "/api/groups/h", json!({ "start": { "first": true, "last": true } }), "start.last"),
        ("PUT", "/api/groups/g/config", json!({ "mode": "both" }), "mode"),
        ("POST", "/api/groups/g/reset", json!({ "time": "noon" }), "time"),
        ("POST", "/api/groups/g/skip", json!({ "position": "7" }), "position"),
        ("POST", "/api/groups/g/pull", json!({ "session": session, "limit": 1_001 }), "limit"),
        ("POST", "/api/groups/g/pull", json!({ "session": session, "waitMs": 60_001 }), "waitMs"),
        ("POST", "/api/groups/g/ack", json!({ "session": "7", "tokens": [1] }), "session"),
        ("POST", "/api/groups/g/ack", json!({ "session": session, "tokens": [] }), "tokens"),
        ("POST", "/api/groups/g/ack", json!({ "session": session, "tokens": vec![1; 10_001] }), "tokens"),
        ("POST", "/api/groups/g/ack", json!({ "session": session, "tokens": [1, -1] }), "tokens[1]"),
        ("POST", "/api/groups/g/nack", json!({ "session": session, "tokens": [1], "refusal": {} }), "refusal"),
        ("POST", "/api/groups/g/extend", json!({ "session": session, "tokens": [1], "ms": 0 }), "ms"),
        ("POST", "/api/groups/g/dead-letters/purge", json!({}), "body"),
        ("POST", "/api/groups/g/dead-letters/replay", json!({ "positions": [] }), "positions"),
    ] {
        let (status, problem) = host.send(method, path, &[], &body.to_string()).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_argument")), "{path}: {problem}");
        assert_eq!(problem["details"][0]["at"], json!(at), "{path}: {problem}");
    }
    for (method, path) in [
        ("GET", "/api/groups/nope"),
        ("GET", "/api/groups/nope/dead-letters"),
        ("POST", "/api/groups/nope/pause"),
        ("DELETE", "/api/groups/nope"),
        ("DELETE", "/api/groups/nope/members/0fd3a5b1-6f0e-4a0e-9d1c-5f3f2a7c9b11"),
        ("GET", "/api/event-streams/subscriptions/nope/consumers"),
    ] {
        let (status, problem) = host.send(method, path, &[], "").await;
        assert_eq!((status, &problem["code"]), (404, &json!("group_not_found")), "{path}: {problem}");
    }
    let (status, problem) = post(&host, "/api/groups/g/reset", json!({ "position": 7 })).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_argument")), "beyond the log: {problem}");
    let (status, problem) = post(&host, "/api/groups/g/reset", json!({ "offset": 0 })).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_argument")), "of which stream: {problem}");
    let (status, _) = host.post("/api/groups/g/ack", "application/json", vec![b' '; 300 * 1024]).await;
    assert_eq!(status, 413);
    let (status, problem) = host.post("/api/groups/g/pull", "application/json", "{").await;
    assert_eq!((status, &problem["code"]), (400, &json!("malformed_body")), "{problem}");
    host.assert_healthy().await;
}

/// Nothing is heard of a member between the beginning and the end of its pull, which may take longer than its
/// session lasts: the host has to count the waiting itself as a sign of life.
#[tokio::test]
async fn a_waiting_member_stays_alive_and_is_woken_by_a_publish() {
    let host = TestHost::start().await;
    make(&host, "g", json!({ "streams": ["s"], "sessionTimeoutMs": 1_000 })).await;
    let member = Member::join(&host, "g", "m").await;
    let publish = async {
        waits(&host, "g", 3).await;
        host.publish("s", &keyed("a", 0..1)).await;
    };
    let begun = Instant::now();
    let (pulled, ()) = tokio::join!(member.pull(100), publish);
    assert_eq!(events(&pulled), [("a".to_owned(), 0)]);
    assert!(begun.elapsed() < Duration::from_secs(50), "it did not wait its whole minute");
    assert_eq!(member.ack(&pulled).await, json!(["durable"]));
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_waits_misses_nothing() {
    let host = Arc::new(TestHost::start().await);
    make(&host, "g", json!({ "streams": ["s"], "sessionTimeoutMs": 500 })).await;
    let waiting = tokio::spawn({
        let host = Arc::clone(&host);
        async move { Member::join(&host, "g", "gone").await.pull(100).await }
    });
    group_becomes(&host, "g", |group| group["members"].as_array().is_some_and(|members| members.len() == 1)).await;
    waits(&host, "g", 2).await;
    waiting.abort();
    // The host has noticed that the client is gone: nothing keeps its session alive.
    group_becomes(&host, "g", |group| group["members"] == json!([])).await;
    host.publish("s", &keyed("a", 0..1)).await;
    let other = Member::join(&host, "g", "other").await;
    let pulled = other.pull(100).await;
    assert_eq!((events(&pulled), &pulled[0]["lost"]), (vec![("a".to_owned(), 0)], &json!(0)));
}

#[tokio::test]
async fn a_host_that_stops_answers_who_waits() {
    let host = TestHost::start().await;
    make(&host, "g", json!({ "sessionTimeoutMs": 1_000 })).await;
    let member = Member::join(&host, "g", "m").await;
    let (url, body) = (host.path("/api/groups/g/pull"), json!({ "session": member.session, "waitMs": 60_000 }));
    let waiting = tokio::spawn(async move {
        let request = reqwest::Client::new().post(url).header("content-type", "application/json");
        request.body(body.to_string()).send().await.expect("an answer").text().await.expect("a body")
    });
    waits(&host, "g", 1).await;
    let begun = Instant::now();
    let (code, _) = host.terminate().await;
    assert_eq!(code, Some(0));
    assert_eq!(waiting.await.expect("it does not panic"), r#"{"deliveries":[]}"#);
    assert!(begun.elapsed() < Duration::from_secs(9), "the drain did not wait for it");
}

#[tokio::test]
async fn what_clients_may_not_read_does_not_come_through_a_group() {
    let host = TestHost::start().await;
    host.publish("open", &keyed("a", 0..1)).await;
    host.publish("closed", &keyed("a", 1..2)).await;
    host.publish("open", &keyed("a", 2..3)).await;
    let (status, said) =
        host.send("PUT", "/api/event-streams/closed/config", &[], r#"{"access":{"read":"plugins"}}"#).await;
    assert_eq!(status, 200, "{said}");
    let body = r#"{"config":{"streams":["closed"]}}"#;
    let (status, problem) = host.send("PUT", "/api/groups/h", &[], body).await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
    make(&host, "g", json!({})).await;
    let member = Member::join(&host, "g", "m").await;
    let pulled = member.pull(100).await;
    assert_eq!(events(&pulled), [("a".to_owned(), 0), ("a".to_owned(), 2)]);
    assert_eq!(member.ack(&pulled).await, json!(["durable", "durable"]));
    let (_, group) = host.get("/api/groups/g").await;
    assert_eq!(group["lagEvents"], json!(0), "it does not hold up the group: {group}");
}
