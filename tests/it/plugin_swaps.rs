//! The host is killed at each stage of a swap, while events are published and read without pause: readers see one
//! read model or the other, whole, and what they have seen never steps back.

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wasmill_core::log_id;

use crate::plugin_dev::run;
use crate::plugin_life::{becomes, patch, post, status};
use crate::support::host::PATIENCE;
use crate::support::rng::Rng;
use crate::support::{TestHost, flights, long};

const PLUGIN: &str = "test-guest";
const STATUS: &str = "/api/plugins/test-guest/status";
const PAGE: &str = "/api/projections/test-guest/documents/stamps?limit=1000";
const KEYS: u64 = 40;
/// That are there before anything is built.
const FIRST: u64 = 4_000;
/// A build takes a second then, and longer with what comes.
const SLOW: u64 = 4_000;

/// Publishes one event after the other, each until it is acknowledged, wherever the host is. Its id makes it one.
async fn publish(place: watch::Receiver<Option<String>>, acknowledged: watch::Sender<u64>) {
    let client = reqwest::Client::new();
    for n in FIRST.. {
        loop {
            let url = place.borrow().clone();
            let Some(url) = url else { return };
            let sent = client.post(format!("{url}/api/event-streams/guest-1/events")).timeout(PATIENCE);
            let sent = sent.json(&json!([event(n)])).send().await;
            match sent {
                Ok(answer) if answer.status().is_success() => break,
                Ok(answer) => panic!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()),
                Err(_) => tokio::task::yield_now().await,
            }
        }
        acknowledged.send_replace(n + 1);
    }
}

fn event(n: u64) -> Value {
    let id = format!("0198f7a2-0000-7000-8000-{n:012}");
    json!({ "id": id, "type": "stamped", "key": format!("k{}", n % KEYS), "data": {} })
}

/// Reads the whole read model again and again until there is no host any more; answers how often.
async fn read(place: watch::Receiver<Option<String>>) -> u64 {
    let client = reqwest::Client::new();
    let (mut seen, mut reads) = (0, 0);
    loop {
        let url = place.borrow().clone();
        let Some(url) = url else { return reads };
        let answer = match client.get(format!("{url}{PAGE}")).timeout(PATIENCE).send().await {
            Ok(answer) => answer,
            // It is down.
            Err(_) => {
                tokio::task::yield_now().await;
                continue;
            }
        };
        let status = answer.status();
        // A host that dies while it answers is down too.
        let Ok(text) = answer.text().await else { continue };
        assert_eq!(status, 200, "no reader meets an error: {text}");
        let page: Value = serde_json::from_str(&text).expect("JSON");
        let (_, count) = whole(&page);
        assert!(count >= seen, "{seen} events were seen before, and now {page}");
        (seen, reads) = (count, reads + 1);
    }
}

/// Whose read model it is, and how many events it has: a page of one read model at one moment.
fn whole(page: &Value) -> (String, u64) {
    let documents = page["documents"].as_array().unwrap_or_else(|| panic!("a page: {page}"));
    let stamp = documents[0]["value"]["stamp"].as_str().expect("a stamp").to_owned();
    let (mut all, mut sum) = (0, 0);
    for document in documents {
        assert_eq!(document["value"]["stamp"], json!(stamp), "a mixture: {page}");
        let count = document["value"]["count"].as_u64().expect("a count");
        match document["key"].as_str() {
            Some("all") => all = count,
            _ => sum += count,
        }
    }
    assert_eq!(all, sum, "not of one moment: {page}");
    (stamp, all)
}

struct Swaps {
    host: TestHost,
    rng: Rng,
    place: watch::Sender<Option<String>>,
    acknowledged: watch::Receiver<u64>,
    revision: u64,
    kills: u64,
}

impl Swaps {
    /// Lets a few more events be acknowledged, and kills the host; another takes its place.
    async fn kill(&mut self, acknowledged_max: u64) {
        let more = *self.acknowledged.borrow() + self.rng.below(acknowledged_max + 1);
        self.acknowledged.wait_for(|acknowledged| *acknowledged >= more).await.expect("the publisher goes on");
        let dir = self.host.kill().await;
        self.host = TestHost::start_in(dir).await;
        self.place.send_replace(Some(self.host.url.clone()));
        self.kills += 1;
    }

    /// Calls something and does not wait for its answer, which the host may not live to give.
    fn call(&self, path: &str) -> JoinHandle<()> {
        let request = reqwest::Client::new().post(self.host.path(path)).timeout(PATIENCE);
        tokio::spawn(async move {
            let _ = request.send().await;
        })
    }

    /// Makes the next revision, whose documents bear its number.
    async fn configure(&mut self) -> u64 {
        let before = self.revision;
        let change = json!({ "set": { "stamp": format!("s{}", before + 1) } }).to_string();
        let path = "/api/plugins/test-guest/configure";
        let (code, answer) = self.host.send("POST", path, &[], &change).await;
        assert_eq!(code, 200, "{answer}");
        self.revision = answer["plugin"]["revision"].as_u64().expect("a number");
        assert_eq!(self.revision, before + 1, "{answer}");
        before
    }

    async fn runs(&self, revision: u64) {
        let what = format!("revision {revision} runs");
        becomes(&self.host, STATUS, &what, |now| now["runningRevision"] == json!(revision)).await;
        let (stamp, _) = whole(&self.host.get(PAGE).await.1);
        assert_eq!(stamp, format!("s{revision}"));
    }

    async fn running(&self) -> u64 {
        status(&self.host, PLUGIN).await["runningRevision"].as_u64().expect("a number")
    }

    async fn confirmed_swaps(&self, on: bool) {
        patch(&self.host, PLUGIN, json!({ "confirmSwap": on })).await;
    }

    async fn waits(&self) {
        let waits = |now: &Value| now["building"]["waitsForConfirmation"] == json!(true);
        becomes(&self.host, STATUS, "it waits for a person", waits).await;
    }

    fn swaps(&self) -> usize {
        let of_a_swap = |line: &&Value| line["event_id"] == json!(log_id::PROJECTION_SWAPPED);
        self.host.log_lines().iter().filter(of_a_swap).count()
    }

    async fn killed_while_it_builds(&mut self) {
        patch(&self.host, PLUGIN, json!({ "buildEventsPerSecond": SLOW })).await;
        let before = self.configure().await;
        let begun = |now: &Value| now["building"]["nextPosition"].as_u64() > Some(0);
        becomes(&self.host, STATUS, "it is being built", begun).await;
        self.kill(100).await;
        let now = status(&self.host, PLUGIN).await;
        assert_eq!(now["runningRevision"], json!(before), "{now}");
        assert_eq!(now["building"]["revision"], json!(self.revision), "{now}");
        assert!(begun(&now), "it goes on where it was: {now}");
        patch(&self.host, PLUGIN, json!({ "buildEventsPerSecond": null })).await;
        self.runs(self.revision).await;
    }

    async fn killed_at_the_swaps_commit(&mut self) {
        self.confirmed_swaps(true).await;
        let before = self.configure().await;
        self.waits().await;
        self.kill(5).await;
        self.waits().await;
        assert_eq!(self.running().await, before, "nobody has confirmed it");
        // Killed before, in, or after its commit.
        let confirming = self.call("/api/plugins/test-guest/confirm");
        self.kill(2).await;
        confirming.await.expect("it is sent");
        let running = self.running().await;
        assert!(running == before || running == self.revision, "{running}");
        if running == before {
            self.waits().await;
            post(&self.host, "/api/plugins/test-guest/confirm").await;
        }
        self.runs(self.revision).await;
        self.confirmed_swaps(false).await;
    }

    /// The one that stood by is retired by the swap, and its documents are being removed.
    async fn killed_behind_the_swaps_commit(&mut self) {
        let before = self.swaps();
        self.configure().await;
        // The line is written right behind the commit.
        let swapped = async {
            while self.swaps() == before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, swapped).await.expect("it swaps");
        self.kill(2).await;
        assert_eq!(self.running().await, self.revision, "what was told is durable");
        self.runs(self.revision).await;
    }

    async fn killed_while_it_rolls_back_and_forth(&mut self) {
        let (new, old) = (self.revision, self.revision - 1);
        for to in [old, new] {
            let path = format!("/api/plugins/test-guest/rollback?to={to}");
            let rolling = self.call(&path);
            self.kill(2).await;
            rolling.await.expect("it is sent");
            let running = self.running().await;
            assert!(running == old || running == new, "{running}");
            let now = status(&self.host, PLUGIN).await;
            if now["revision"] != json!(to) {
                post(&self.host, &path).await;
            }
            self.runs(to).await;
        }
    }

    async fn killed_while_it_drops_the_old_one(&mut self) {
        let dropping = self.call("/api/plugins/test-guest/confirm?dropStandby=true");
        self.kill(2).await;
        dropping.await.expect("it is sent");
        if status(&self.host, PLUGIN).await.get("standby").is_some() {
            post(&self.host, "/api/plugins/test-guest/confirm?dropStandby=true").await;
        }
        assert!(status(&self.host, PLUGIN).await.get("standby").is_none());
        self.runs(self.revision).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_at_each_stage_of_a_swap_is_never_seen() {
    let rng = Rng::printed("kill_9_at_each_stage_of_a_swap_is_never_seen");
    let host = TestHost::start().await;
    host.deploy(&flights::guest(PLUGIN)).await;
    for from in (0..FIRST).step_by(1_000) {
        host.publish("guest-1", &(from..from + 1_000).map(event).collect()).await;
    }
    let all = |page: &Value| page["documents"].as_array().is_some_and(|documents| documents.len() as u64 > KEYS);
    becomes(&host, PAGE, "there is a read model", all).await;
    let (place, places) = watch::channel(Some(host.url.clone()));
    let (acknowledging, acknowledged) = watch::channel(FIRST);
    let publishing = tokio::spawn(publish(places.clone(), acknowledging));
    let mut swaps = Swaps { host, rng, place, acknowledged, revision: 1, kills: 0 };
    // The first revision's documents bear no number.
    swaps.configure().await;
    swaps.runs(2).await;
    let reading = tokio::spawn(read(places));

    for _ in 0..if long() { 25 } else { 2 } {
        swaps.killed_while_it_builds().await;
        swaps.killed_at_the_swaps_commit().await;
        swaps.killed_behind_the_swaps_commit().await;
        swaps.killed_while_it_rolls_back_and_forth().await;
        swaps.killed_while_it_drops_the_old_one().await;
    }
    let Swaps { host, place, kills, acknowledged, .. } = swaps;
    let published = *acknowledged.borrow();
    place.send_replace(None);
    publishing.await.expect("the publisher met no error but that the host was down");
    let reads = reading.await.expect("every reader saw one read model or the other");
    println!("{kills} kills, {published} events published, {reads} reads");

    // What is left of it all is what its events come to.
    let last = host.get("/api/log").await.1["nextPosition"].as_u64().expect("a position") - 1;
    let before = documents(&host, last).await;
    assert_eq!(whole(&before).1, last + 1, "each event counts once");
    let (code, rebuild) = host.post("/api/projections/test-guest/rebuild", "application/json", "").await;
    assert_eq!(code, 202, "{rebuild}");
    let serves = |now: &Value| now["generation"] == rebuild["generation"];
    becomes(&host, "/api/projections/test-guest", "the rebuilt one serves", serves).await;
    assert_eq!(documents(&host, last).await["documents"], before["documents"], "as a rebuild does");
    post(&host, "/api/plugins/test-guest/confirm?dropStandby=true").await;
    nothing_else_is_left(host).await;
}

/// What was retired leaves the store, whenever its host was killed; what a host has not come to, the next one does.
async fn nothing_else_is_left(mut host: TestHost) {
    // Of the host's own: the plugin's settings, and whatever else it remembers.
    const OWN_MAX: u64 = 8;
    let until = Instant::now() + PATIENCE;
    for n in 0.. {
        let (_, dir) = host.terminate().await;
        let (from, to) = (dir.path().join("wasmill.db"), dir.path().join(format!("copy-{n}/wasmill.db")));
        let (from, to) = (format!("sqlite:{}", from.display()), format!("sqlite:{}", to.display()));
        let ran = run(&["copy", "--from", &from, "--to", &to, "--output", "json"]).await;
        let documents = ran.json()["documents"].as_u64().expect("a count");
        if documents <= KEYS + 1 + OWN_MAX {
            return;
        }
        assert!(Instant::now() < until, "{documents} documents are left of one read model");
        host = TestHost::start_in(dir).await;
    }
}

async fn documents(host: &TestHost, position: u64) -> Value {
    let (code, page) = host.get(&format!("{PAGE}&waitFor={position}&timeout=60s")).await;
    assert_eq!(code, 200, "{page}");
    page
}
