//! The command line, where it is about schedules and receipts.

use serde_json::{Value, json};

use crate::cli::{run, run_json, write};
use crate::support::TestHost;

#[tokio::test]
async fn a_schedule_is_put_shown_paused_and_removed() {
    let host = TestHost::start().await;
    let none = run(&host, "schedule list").await;
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (Some(0), "", "no schedules\n"));
    let put = "schedule put daily --stream s --type t --data {\"n\":1} --key k --tag x";
    let made = run_json(&host, &format!("{put} --cron @daily --time-zone Europe/Berlin --missed skip")).await.json();
    assert_eq!(host.get("/api/schedules/daily").await, (200, made.clone()), "it is the JSON that HTTP gives");
    assert_eq!((&made["event"]["key"], &made["missed"]), (&json!("k"), &json!("skip")), "{made}");
    assert_eq!(run_json(&host, "schedule show daily").await.json(), made);
    let text = run(&host, "schedule show daily").await.out;
    assert!(text.starts_with("daily\n") && text.contains("@daily (Europe/Berlin)"), "{text}");
    let every = run(&host, &put.replace("daily", "often")).await;
    assert_eq!(every.code, Some(2), "a time is missing: {}", every.err);
    let every = run(&host, &format!("{} --every 10m", put.replace("daily", "often"))).await;
    assert!(every.out.starts_with("scheduled often, next at 20"), "{}{}", every.out, every.err);
    run_json(&host, &format!("{} --in 1h", put.replace("daily", "later"))).await.json();

    assert_eq!(run(&host, "schedule pause often").await.out, "paused often\n");
    let list = run(&host, "schedule list").await.out;
    assert!(list.starts_with("schedule  stream") && list.contains("every 10m") && list.contains("paused"), "{list}");
    let resumed = run_json(&host, "schedule resume often").await.json();
    assert_eq!((&resumed["done"], resumed["next"].is_string()), (&json!("resumed"), true), "{resumed}");
    let first = run_json(&host, "schedule list --limit 2").await.json();
    assert_eq!((first["schedules"].as_array().map(Vec::len), &first["nextAfter"]), (Some(2), &json!("later")));
    let rest = run_json(&host, "schedule list --limit 0 --after later").await.json();
    assert_eq!((&rest["schedules"][0]["name"], rest.get("nextAfter")), (&json!("often"), None), "{rest}");
    assert_eq!(run(&host, "schedule remove often").await.out, "removed often\n");
    let gone = run_json(&host, "schedule show often").await.error();
    assert_eq!(gone["code"], json!("schedule_not_found"), "{gone}");
    let wrong = run_json(&host, &format!("{put} --every 1ms")).await.error();
    assert_eq!(wrong["code"], json!("invalid_argument"), "{wrong}");
}

#[tokio::test]
async fn receipts_are_noted_and_shown() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let lines: Vec<Value> = (0..5).map(|n| json!({ "stream": "news", "type": "posted", "data": n })).collect();
    let file = write(dir.path(), "news.jsonl", &lines);
    run_json(&host, &format!("publish {file}")).await.json();
    let none = run(&host, "receipt event news 0").await;
    assert_eq!((none.out.as_str(), none.err.as_str()), ("", "no receipts\n"));
    let noted = run(&host, "receipt note news ann --delivered 0,1,2 --read 0 --read 1").await;
    assert_eq!(noted.out, "noted for ann in news: 3 events delivered, 2 events read\n", "{}", noted.err);
    run_json(&host, "receipt note news bob --read 0").await.json();

    let of_event = run_json(&host, "receipt event news 0").await.json();
    assert_eq!(host.get("/api/event-streams/news/receipts?offset=0").await, (200, of_event), "as HTTP gives it");
    let text = run(&host, "receipt event news 0").await.out;
    assert!(text.starts_with("consumer  delivered") && text.contains("\nbob "), "{text}");
    let consumers = run_json(&host, "receipt consumers news").await.json();
    assert_eq!(host.get("/api/event-streams/news/consumers").await, (200, consumers));
    let streams = run_json(&host, "receipt streams ann").await.json();
    assert_eq!(host.get("/api/consumers/ann").await, (200, streams));
    let text = run(&host, "receipt streams ann").await.out;
    assert!(text.starts_with("stream  delivered") && text.contains("\nnews"), "{text}");
    let unread = run_json(&host, "receipt consumer ann --unread").await.json();
    assert_eq!((&unread["receipts"][0]["offset"], unread["receipts"].get(1)), (&json!(2), None), "{unread}");
    let some = run_json(&host, "receipt consumer ann --limit 2 --stream news").await.json();
    assert_eq!((some["receipts"].as_array().map(Vec::len), &some["more"]), (Some(2), &json!(true)), "{some}");
    let all = run_json(&host, "receipt consumer ann --limit 0").await.json();
    assert_eq!((all["receipts"].as_array().map(Vec::len), all.get("more")), (Some(3), None), "{all}");
    let wrong = run_json(&host, "receipt note news ann --read 5").await.error();
    assert_eq!(wrong["code"], json!("invalid_argument"), "{wrong}");
}
