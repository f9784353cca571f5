//! The command line, where it is about streams: transactions, filters, ends and configurations.

use serde_json::{Value, json};

use crate::cli::{run, run_json, write};
use crate::support::TestHost;

fn positions(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["position"].as_u64().expect("a position")).collect()
}

#[tokio::test]
async fn a_transaction_is_sent_as_it_would_be_over_http() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let seat = |guest: u64| {
        json!({
            "appends": [
                { "stream": "seat-7", "expectedOffset": "no_stream",
                  "events": [{ "type": "seat.taken", "tags": [format!("guest:{guest}")], "data": { "guest": guest } }] },
                { "stream": format!("guest-{guest}"), "events": [{ "type": "guest.seated", "data": 7 }] },
            ],
            "conditions": [{ "query": [{ "types": ["seat.*"], "tags": [format!("guest:{guest}")] }] }],
        })
    };
    let file = write(dir.path(), "seat.json", &[seat(3)]);
    let outcome = run_json(&host, &format!("transact {file} --idempotency-key k")).await.json();
    assert_eq!(
        (&outcome["appends"][0]["stream"], &outcome["appends"][1]["firstPosition"]),
        (&json!("seat-7"), &json!(1))
    );
    let again = run_json(&host, &format!("transact {file} --idempotency-key k")).await.json();
    assert_eq!(again["appends"][0]["duplicate"], json!(true), "the same key, the same events");
    let posted = reqwest::Client::new().post(host.path("/api/transactions")).header("idempotency-key", "k");
    let posted = posted.header("content-type", "application/json").body(seat(3).to_string()).send().await;
    let posted: Value = posted.expect("an answer").json().await.expect("JSON");
    assert_eq!(posted["appends"][1]["duplicate"], json!(true), "over HTTP too: {posted}");

    let error = run_json(&host, &format!("transact {file}")).await.error();
    let at: Vec<_> = error["details"].as_array().expect("details").iter().map(|detail| &detail["at"]).collect();
    assert_eq!(
        (&error["code"], at),
        (&json!("wrong_expected_offset"), vec![&json!("seat-7"), &json!("conditions[0]")])
    );
    let broken =
        write(dir.path(), "broken.json", &[json!({ "appends": [{ "stream": "a", "events": [{ "type": "t" }] }] })]);
    let ran = run(&host, &format!("transact {broken}")).await;
    assert!(ran.code == Some(1) && ran.err.contains("appends[0].events[0].data"), "{}", ran.err);
}

#[tokio::test]
async fn read_finds_by_key_tag_correlation_and_time() {
    let host = TestHost::start().await;
    for n in 0..6 {
        let tags: Vec<&str> =
            [("even", n % 2), ("third", n % 3)].iter().filter(|(_, rest)| *rest == 0).map(|(tag, _)| *tag).collect();
        let correlation_id = format!("c-{}", n % 2);
        host.publish("s", &json!([{ "type": "t", "key": format!("k-{n}"), "tags": tags, "correlationId": correlation_id, "data": n }])).await;
    }
    let all = run_json(&host, "read").await.lines();
    let time = |n: usize| all[n]["recordedAt"].as_str().expect("a time").to_owned();
    for (line, expected) in [
        ("read --key k-1 --key k-4".to_owned(), vec![1, 4]),
        ("read --tag even".to_owned(), vec![0, 2, 4]),
        ("read --tag even --tag third".to_owned(), vec![0]),
        ("read --correlation-id c-1 --backward".to_owned(), vec![5, 3, 1]),
        ("read --from 1 --until 3".to_owned(), vec![1, 2]),
        ("read s --from 4 --until 2 --backward".to_owned(), vec![4, 3]),
        (format!("read --from-time {} --until-time {}", time(2), time(4)), vec![2, 3]),
        (format!("read s --from-time {}", time(2)), vec![2, 3, 4, 5]),
    ] {
        assert_eq!(positions(&run_json(&host, &line).await.lines()), expected, "{line}");
    }
}

#[tokio::test]
async fn streams_are_truncated_deleted_and_configured() {
    let host = TestHost::start().await;
    let events: Vec<Value> = (0..5).map(|n| json!({ "type": "t", "data": n })).collect();
    host.publish("order-1", &json!(events)).await;
    let stream = run_json(&host, "stream truncate order-1 --before 2 --expect 4").await.json();
    assert_eq!((&stream["events"], &stream["firstOffset"]), (&json!(3), &json!(2)), "{stream}");
    let error = run_json(&host, "stream truncate order-1 --before 3 --expect 9").await.error();
    assert_eq!(error["code"], "wrong_expected_offset");
    let ran = run(&host, "stream delete order-1").await;
    assert!(ran.out.contains("state          deleted"), "{}", ran.out);

    assert_eq!(
        run_json(&host, r#"stream config set order-* {"deletion":"forbidden"}"#).await.json(),
        json!({ "configured": "order-*" })
    );
    let holds = run_json(&host, "stream config get order-1").await.json();
    assert_eq!(
        (&holds["effective"]["deletion"], &holds["origins"]),
        (&json!("forbidden"), &json!({ "deletion": "pattern order-*" }))
    );
    let text = run(&host, "stream config get order-1").await.out;
    assert!(
        text.lines().any(|line| line.split_whitespace().eq(["deletion", "forbidden", "pattern", "order-*"])),
        "{text}"
    );
    assert_eq!(run_json(&host, "stream delete order-1 --hard").await.error()["code"], "stream_protected");
    let listed = run_json(&host, "stream config list").await.json();
    assert_eq!(
        listed["configs"],
        json!([{ "kind": "pattern", "name": "order-*", "config": { "deletion": "forbidden" } }])
    );
    assert_eq!(run_json(&host, "stream config remove order-*").await.json(), json!({ "removed": "order-*" }));
    assert_eq!(run_json(&host, "stream config remove order-*").await.error()["code"], "stream_config_not_found");
    assert_eq!(run_json(&host, "stream delete order-1 --hard").await.json()["state"], "tombstoned");
}
