//! The command line, where it is about queues.

use serde_json::{Value, json};

use crate::cli::{run, run_json, write};
use crate::support::TestHost;

fn data(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["data"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn a_queue_is_made_filled_and_emptied() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let none = run(&host, "queue list").await;
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (Some(0), "", "no queues\n"));
    let said = write(dir.path(), "config.json", &[json!({ "deadLetter": { "maxDeliveries": 3 } })]);
    run_json(&host, &format!("stream config set mail {said}")).await.json();
    assert_eq!(run_json(&host, "queue create mail").await.json(), json!({ "queue": "mail", "created": true }));
    assert_eq!(run_json(&host, "queue create mail").await.json()["created"], json!(false));
    let shown = run_json(&host, "queue show mail").await.json();
    assert_eq!((&shown["name"], &shown["group"]), (&json!("mail"), &json!("$queue/mail")), "{shown}");
    assert_eq!(shown["config"]["maxDeliveries"], json!(3), "what was said of the stream stays: {shown}");

    let put = run_json(&host, "queue put mail --type counted --data 0 --key a --delay 10ms --ttl 1h").await.json();
    assert_eq!((&put["messages"], &put["firstOffset"]), (&json!(1), &json!(0)), "{put}");
    let id = |n: u64| format!("0198f7a2-0000-7000-8000-{n:012}");
    let lines: Vec<_> =
        (1..4).map(|n| json!({ "type": "counted", "key": "a", "id": id(n), "data": n, "delayMs": 1 })).collect();
    let file = write(dir.path(), "mails.jsonl", &lines);
    let put = run_json(&host, &format!("queue put mail {file}")).await.json();
    assert_eq!((&put["messages"], &put["lastOffset"], &put["knownAlready"]), (&json!(3), &json!(3), &json!(0)));
    let again = run(&host, &format!("queue put mail {file}")).await;
    assert_eq!(again.out, "put 3 messages into mail, of which 3 known already\n", "{}", again.err);

    let taken = run(&host, "queue take mail --wait 30s").await.lines();
    assert_eq!(data(&taken), [0], "one, if nothing else is said");
    let taken = run(&host, "queue take mail --limit 3 --wait 30s --visibility 30s --consumer w").await.lines();
    assert_eq!(data(&taken), [1, 2, 3]);
    let nothing = run(&host, "queue take mail").await;
    assert_eq!((nothing.code, nothing.out.as_str(), nothing.err.as_str()), (Some(0), "", "nothing to take\n"));
    let list = run(&host, "queue list").await.out;
    assert!(list.starts_with("queue  state") && list.contains("\nmail   running"), "{list}");
}

#[tokio::test]
async fn what_cannot_be_put_or_taken_is_named() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    for line in ["queue show s", "queue take s", "queue put s --type t --data 1"] {
        let error = run_json(&host, line).await.error();
        assert_eq!(error["code"], json!("no_queue"), "{line}: {error}");
    }
    run_json(&host, "queue create q").await.json();
    let bad = write(dir.path(), "bad.jsonl", &[json!({ "type": "t", "data": 1 }), json!({ "type": "t" })]);
    let error = run_json(&host, &format!("queue put q {bad}")).await.error();
    assert_eq!((&error["code"], &error["facts"]["line"]), (&json!("malformed_line"), &json!(2)), "{error}");
    assert_eq!(error["facts"]["put"], json!(1), "{error}");
}
