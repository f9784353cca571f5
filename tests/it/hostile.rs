//! Hostile plugins beside others: each kind of harm ends in a clear status, nothing of it is stored, and what it
//! costs its neighbours is measured and printed (`tests/run --long`), against the same run without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::plugin_life::{becomes, patch, status};
use crate::support::rng::Rng;
use crate::support::{TestHost, flights, long};

/// What is published to a hostile plugin, and a word of the failure that it ends in; none goes on.
const PROJECTIONS: [(&str, Option<&str>); 13] = [
    ("loop", Some("ms for one call")),
    ("gigabyte", Some("bytes of memory")),
    ("recurse", Some("out of stack")),
    ("panic", Some("told to panic")),
    ("exit", Some("exited")),
    ("sleep", Some("timers are not available")),
    ("handle-leak", Some("no free keys")),
    ("state-bomb", Some("bytes of documents")),
    ("huge-document", Some("262144")),
    ("undeclared", Some("not declared")),
    // Lines are dropped, or the call is too long.
    ("log-flood", None),
    ("leak", None),
    // It looks for files and sockets, and finds none.
    ("reach", None),
];
const HANDLERS: [(&str, Option<&str>); 6] = [
    ("loop", Some("ms for one call")),
    ("emit-flood", Some("emits more than")),
    ("huge-output", Some("emits more than")),
    ("trespass", Some("no capability allows")),
    ("state-bomb", Some("bytes of documents")),
    ("panic", Some("told to panic")),
];

/// A guest under another name, which is fed other streams: both stand in its descriptor, as bytes of its memory.
pub fn renamed(guest: &str, replacements: &[(&str, String)]) -> Vec<u8> {
    let mut bytes = std::fs::read(flights::guest(guest)).expect("the guest is built");
    for (from, to) in replacements {
        assert_eq!(from.len(), to.len(), "nothing else may move");
        let places: Vec<usize> =
            (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from.as_bytes())).collect();
        assert!(!places.is_empty(), "`{from}` stands in {guest}");
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    bytes
}

struct Hostile {
    name: String,
    stream: String,
    event_type: &'static str,
    ends_in: Option<&'static str>,
    handler: bool,
}

/// Deploys one plugin for each kind of harm.
async fn deploy_all(host: &TestHost) -> Vec<Hostile> {
    let mut all = Vec::new();
    for (n, (event_type, ends_in)) in PROJECTIONS.into_iter().enumerate() {
        let (name, streams) = (format!("hostile-{n:02}"), format!("bad{n:02}-*"));
        let component = renamed("test-guest", &[("test-guest", name.clone()), ("guest-*", streams)]);
        let (code, deployed) = host.try_deploy(component).await;
        assert_eq!(code, 201, "{deployed}");
        all.push(Hostile { name, stream: format!("bad{n:02}-1"), event_type, ends_in, handler: false });
    }
    for (n, (event_type, ends_in)) in HANDLERS.into_iter().enumerate() {
        let (name, streams) = (format!("hostile-h-{n:02}"), format!("bah{n}-*"));
        let component = renamed("test-handler", &[("test-handler", name.clone()), ("task-*", streams)]);
        let (code, deployed) = host.post("/api/plugins?grantAll=true&from=first", "application/wasm", component).await;
        assert_eq!(code, 201, "{deployed}");
        all.push(Hostile { name, stream: format!("bah{n}-1"), event_type, ends_in, handler: true });
    }
    all
}

/// Sends each what it is to do harm with, and one event behind it.
async fn provoke(host: &TestHost, all: &[Hostile]) {
    for hostile in all {
        let events = json!([{ "type": hostile.event_type, "key": "k", "data": {} }]);
        host.publish(&hostile.stream, &events).await;
    }
}

/// Uploads what no host takes, again and again: pieces of components, damaged ones, and descriptors that loop, ask
/// for a gigabyte, lie or hold 10,000 collections.
async fn upload_without_pause(host: Arc<TestHost>, mut rng: Rng, stop: Arc<AtomicBool>) -> u64 {
    let whole = std::fs::read(flights::rust_component()).expect("the guest is built");
    let sockets = r#"(component (import "wasi:sockets/tcp@0.2.99" (instance (export "steal" (func)))))"#;
    let lies = ["describe-loops", "describe-gigabyte", "bad-descriptor", "many-collections"]
        .map(|name| std::fs::read(flights::guest(name)).expect("the guest is built"));
    let mut uploads = 0;
    while !stop.load(Ordering::Relaxed) {
        let component = match rng.below(7) {
            0..4 => lies[rng.below(4) as usize].clone(),
            4 => whole[..rng.below(whole.len() as u64) as usize].to_vec(),
            5 => wat::parse_str(sockets).expect("the text is WebAssembly"),
            _ => {
                let mut damaged = whole.clone();
                let at = rng.below(whole.len() as u64 - 64) as usize;
                damaged[at..at + 64].iter_mut().for_each(|byte| *byte = rng.next() as u8);
                // It may be the same to the host, where nothing looks at that part: then it keeps its name.
                let (code, answer) = host.post("/api/plugins/check", "application/wasm", damaged).await;
                assert!(code == 200 || code == 422, "{code} {answer}");
                continue;
            }
        };
        let (code, problem) = host.try_deploy(component).await;
        assert_eq!(code, 422, "{problem}");
        uploads += 1;
    }
    uploads
}

/// The time of each publish, the slowest last, and how fast a projection was folded meanwhile.
struct Measured {
    publish_us: Vec<u128>,
    events_per_second: f64,
}

impl Measured {
    fn percentile(&self, of_thousand: usize) -> f64 {
        self.publish_us[(self.publish_us.len() - 1) * of_thousand / 1_000] as f64 / 1_000.0
    }
}

/// Publishes one event after the other over several connections, while the flights are built anew over and over.
async fn measure(host: &Arc<TestHost>, publishes: u64) -> Measured {
    const PUBLISHERS: u64 = 4;
    let left = Arc::new(AtomicU64::new(publishes));
    let mut publishers = JoinSet::new();
    for n in 0..PUBLISHERS {
        let (host, left) = (Arc::clone(host), Arc::clone(&left));
        publishers.spawn(async move {
            let (client, mut took) = (reqwest::Client::new(), Vec::new());
            let path = host.path(&format!("/api/event-streams/load-{n}/events"));
            let body = json!([{ "type": "noise", "data": { "text": "x".repeat(200) } }]).to_string();
            let next = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
            while next() {
                let began = Instant::now();
                let request = client.post(&path).header("content-type", "application/json").body(body.clone());
                let answer = request.send().await.expect("the host answers");
                assert!(answer.status().is_success(), "{}", answer.status());
                answer.bytes().await.expect("a body");
                took.push(began.elapsed().as_micros());
            }
            took
        });
    }
    let (began, mut builds, mut publish_us) = (Instant::now(), 0_u32, Vec::new());
    while left.load(Ordering::Relaxed) > 0 {
        let (code, rebuild) = host.post("/api/projections/flights/rebuild", "application/json", "").await;
        assert_eq!(code, 202, "{rebuild}");
        let built = |now: &Value| now["generation"] == rebuild["generation"];
        becomes(host, "/api/projections/flights", "it is built", built).await;
        builds += 1;
    }
    let events_per_second = f64::from(builds) * flights::events().len() as f64 / began.elapsed().as_secs_f64();
    while let Some(took) = publishers.join_next().await {
        publish_us.extend(took.expect("every publish succeeds"));
    }
    publish_us.sort_unstable();
    Measured { publish_us, events_per_second }
}

fn told(what: &str, now: &Measured, quiet: &Measured) {
    let (p50, p99, rate) = (now.percentile(500), now.percentile(990), now.events_per_second);
    let ratio = |now: f64, before: f64| now / before;
    println!(
        "{what:<34} publish p50 {p50:6.2} ms ({:.2}x), p99 {p99:6.2} ms ({:.2}x); folds {rate:8.0} events/s ({:.2}x)",
        ratio(p50, quiet.percentile(500)),
        ratio(p99, quiet.percentile(990)),
        ratio(quiet.events_per_second, rate),
    );
}

/// Waits until each has come to its end, and looks at what is left.
async fn ends_well(host: &TestHost, all: &[Hostile]) {
    for Hostile { name, event_type, ends_in, handler, .. } in all {
        let path = format!("/api/plugins/{name}/status");
        let over = |now: &Value| match (ends_in, *handler) {
            (Some(_), false) => now["state"] == json!("paused"),
            (Some(_), true) => now["deadLetters"] == json!(1) && now["lagEvents"] == json!(0),
            (None, _) => now["lagEvents"] == json!(0) || now["state"] == json!("paused"),
        };
        let now = becomes(host, &path, &format!("{name} ({event_type}) comes to its end"), over).await;
        if let Some(words) = ends_in {
            let told = if now.get("failure").is_some() { &now["failure"] } else { &now["lastFailure"] };
            let told = match handler {
                true => {
                    let letters = host.get(&format!("/api/groups/%24handler%2F{name}/dead-letters")).await.1;
                    letters["deadLetters"][0]["error"].clone()
                }
                false => told["reason"].clone(),
            };
            assert!(told.as_str().is_some_and(|told| told.contains(words)), "{event_type}: `{words}` in {told}: {now}");
        }
        if *handler {
            continue;
        }
        // Nothing of a call that failed is stored.
        let (_, projection) = host.get(&format!("/api/projections/{name}")).await;
        for collection in projection["collections"].as_array().expect("collections") {
            let (found, documents) = (collection["name"].as_str().expect("a name"), &collection["documents"]);
            let may = *event_type == "reach" && found == "probes";
            assert!(may || *documents == json!(0), "{event_type} left {documents} in {found}");
        }
    }
    // Nor appended: not where it may, and not where it may not.
    for stream in ["done-flood", "done-huge", "elsewhere"] {
        assert_eq!(host.get(&format!("/api/event-streams/{stream}")).await.0, 404, "{stream}");
    }
    host.assert_healthy().await;
}

/// What each limit was met with.
async fn limits_met(host: &TestHost) {
    let text = reqwest::get(host.path("/metrics")).await.expect("an answer").text().await.expect("text");
    for (plugin, limit) in [
        ("hostile-00", "call_time"),
        ("hostile-01", "memory"),
        ("hostile-06", "handles"),
        ("hostile-07", "changes"),
        ("hostile-08", "document"),
        ("hostile-10", "log_lines"),
        ("hostile-h-01", "outbox"),
        ("hostile-h-03", "grants"),
    ] {
        let series = format!("wasmill_plugin_limit_exceeded_total{{limit=\"{limit}\",plugin=\"{plugin}\"}} ");
        assert!(text.contains(&series), "{series}in {text}");
    }
    for series in ["wasmill_plugin_call_seconds_count{plugin=\"flights\"}", "wasmill_plugin_changed_limit_bytes"] {
        assert!(text.contains(series), "{series} in {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_harm_ends_in_a_clear_status_and_is_measured_beside_others() {
    let mut rng = Rng::printed("every_harm_ends_in_a_clear_status_and_is_measured_beside_others");
    let publishes = if long() { 40_000 } else { 2_000 };
    let host = Arc::new(TestHost::start().await);
    host.deploy(&flights::rust_component()).await;
    flights::publish(&host, &flights::events()).await.expect("published");
    let totals = "/api/projections/flights/documents/totals/all";
    let whole = |now: &Value| now["value"]["events"] == json!(flights::events().len());
    becomes(&host, totals, "all flights are folded", whole).await;

    // Once without counting: files are in memory, and code is compiled.
    measure(&host, publishes / 4).await;
    let quiet = measure(&host, publishes).await;
    told("alone", &quiet, &quiet);
    let all = deploy_all(&host).await;
    told("hostile plugins that do nothing", &measure(&host, publishes).await, &quiet);

    let stop = Arc::new(AtomicBool::new(false));
    let uploading = spawn_uploads(&host, rng.fork(), &stop);
    told("hostile uploads", &measure(&host, publishes).await, &quiet);
    stop.store(true, Ordering::Relaxed);
    println!("{} uploads were refused", uploading.await.expect("each is refused"));

    if long() {
        // They are tried again without a rest, as no author but an operator can have it.
        for hostile in &all {
            patch(&host, &hostile.name, json!({ "attempts": 1_000, "retry": { "baseMs": 0 } })).await;
        }
        provoke(&host, &all).await;
        told("all at once, without a rest", &measure(&host, publishes).await, &quiet);
        for hostile in &all {
            patch(&host, &hostile.name, json!({ "attempts": null, "retry": null })).await;
        }
    } else {
        for hostile in &all {
            patch(&host, &hostile.name, json!({ "attempts": 2 })).await;
        }
        provoke(&host, &all).await;
    }
    told("as they are by default", &measure(&host, publishes).await, &quiet);
    ends_well(&host, &all).await;
    limits_met(&host).await;
    told("when all have ended", &measure(&host, publishes).await, &quiet);
    becomes(&host, totals, "the neighbour has lost nothing", whole).await;
    assert_eq!(status(&host, "flights").await["failure"], Value::Null);
}

fn spawn_uploads(host: &Arc<TestHost>, rng: Rng, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    tokio::spawn(upload_without_pause(Arc::clone(host), rng, Arc::clone(stop)))
}
