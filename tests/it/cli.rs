//! The command line as its users meet it: output, exit codes, signals and pipes of the real binary.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::host::{PATIENCE, binary};
use crate::support::{TestHost, flights, root};
use crate::tidy::skip;

/// A plugin's project is compiled with what it depends on.
const BUILD_PATIENCE: Duration = Duration::from_mins(15);

/// What a command has left behind.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    /// Its result, one document.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, Some(0), "{}", self.err);
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// Its results, one on each line.
    pub fn lines(&self) -> Vec<Value> {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
    }

    /// Its failure, and that there is no result beside it.
    pub fn error(&self) -> Value {
        let error: Value = serde_json::from_str(&self.err).unwrap_or_else(|error| panic!("{error}: {}", self.err));
        assert_eq!(self.out, "", "{error}");
        error["error"].clone()
    }
}

/// A command whose arguments stand in one line, against a host at `url`, in an environment of its own.
fn command(url: &str, line: &str) -> Command {
    let mut command = Command::new(binary());
    command.args(line.split_whitespace());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WASMILL_")) {
        command.env_remove(name);
    }
    command.env("WASMILL_URL", url).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

pub async fn ended(child: Child, patience: Duration) -> Ran {
    let output = tokio::time::timeout(patience, child.wait_with_output()).await.expect("it ends in time");
    let output = output.expect("it is waited for");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("its output is UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

pub async fn run(host: &TestHost, line: &str) -> Ran {
    ended(command(&host.url, line).spawn().expect("the binary starts"), PATIENCE).await
}

pub async fn run_json(host: &TestHost, line: &str) -> Ran {
    run(host, &format!("{line} --output json")).await
}

async fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args([name, &pid]).status().await.expect("kill runs").success());
}

/// `count` events in turn to three streams.
fn orders(count: usize) -> Vec<Value> {
    let id = |n| format!("0198f7a2-0000-7000-8000-{n:012}");
    let order =
        |n| json!({ "stream": format!("order-{}", n % 3), "type": "order.placed", "id": id(n), "data": { "n": n } });
    (1..=count).map(order).collect()
}

pub fn write(dir: &Path, name: &str, lines: &[Value]) -> String {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let path = dir.join(name);
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// The number in the data of each event, in the order of the log.
async fn numbers(host: &TestHost) -> Vec<u64> {
    let (status, page) = host.get("/api/events?limit=1000").await;
    assert_eq!(status, 200, "{page}");
    page["events"].as_array().expect("events").iter().map(|event| event["data"]["n"].as_u64().expect("n")).collect()
}

#[tokio::test]
async fn a_bad_line_is_named_and_publishing_again_stores_nothing_twice() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let good = orders(50);
    let file = write(dir.path(), "orders.jsonl", &good);
    let broken = std::fs::read_to_string(&file).expect("read").replace(r#"{"n":30}"#, r#"{"n":30"#);
    let bad = dir.path().join("bad.jsonl").display().to_string();
    std::fs::write(&bad, &broken).expect("written");

    let ran = run(&host, &format!("publish {bad}")).await;
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    let column = broken.lines().nth(29).expect("a line").len();
    let place = format!("error[malformed_line]: {bad}:30:{column}: ");
    assert!(ran.err.starts_with(&place) && ran.err.contains("29 events published"), "{place} begins: {}", ran.err);
    assert_eq!(numbers(&host).await, (1..=29).collect::<Vec<_>>(), "all before the line, nothing of it or behind it");

    let error = run_json(&host, &format!("publish {bad}")).await.error();
    assert_eq!(error["facts"], json!({ "line": 30, "column": column, "published": 29, "lastPosition": 28 }));

    let report = run_json(&host, &format!("publish {file}")).await.json();
    assert_eq!((&report["events"], &report["knownAlready"]), (&json!(50), &json!(29)), "{report}");
    let report = run_json(&host, &format!("publish {file}")).await.json();
    assert_eq!((&report["knownAlready"], &report["lastPosition"]), (&json!(50), &json!(49)), "{report}");
    assert_eq!(numbers(&host).await, (1..=50).collect::<Vec<_>>(), "the log is the file, in its order");
}

#[tokio::test]
async fn a_refused_event_is_named_by_its_line_and_nothing_of_its_stream_is_behind_it() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let mut events = orders(30);
    events[9]["type"] = json!("");
    let file = write(dir.path(), "refused.jsonl", &events);
    for options in ["", " --window 4096", " --batch 1"] {
        let ran = run_json(&host, &format!("publish {file}{options}")).await;
        let error = ran.error();
        assert_eq!((ran.code, &error["code"], &error["facts"]["line"]), (Some(1), &json!("invalid_event"), &json!(10)));
        assert_eq!(error["details"][0]["at"], json!(format!("{file}:10")), "{error}");
        let of_stream: Vec<u64> = numbers(&host).await.into_iter().filter(|n| n % 3 == 1).collect();
        assert!([1, 4, 7].starts_with(&of_stream), "{of_stream:?}");
    }
}

#[tokio::test]
async fn a_gzipped_file_and_standard_input_are_files_of_events_too() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let text: String = orders(9).iter().map(|line| format!("{line}\n")).collect();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, text.as_bytes()).expect("packed");
    let file = dir.path().join("named-as-it-likes");
    std::fs::write(&file, packed.finish().expect("packed")).expect("written");
    assert_eq!(run_json(&host, &format!("publish {}", file.display())).await.json()["events"], json!(9));
    let mut child = command(&host.url, "publish - --output json").stdin(Stdio::piped()).spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("stdin");
    stdin.write_all(text.as_bytes()).await.expect("written");
    drop(stdin);
    assert_eq!(ended(child, PATIENCE).await.json()["knownAlready"], json!(9));
    assert_eq!(numbers(&host).await, (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_kind_of_end_has_its_exit_code() {
    let host = TestHost::start().await;
    let (dir, empty) = (tempfile::tempdir().expect("a folder"), tempfile::NamedTempFile::new().expect("a file"));
    let table = |line: &str, code, reason: &str| (line.to_owned(), code, reason.to_owned());
    let failures = [
        table("stream show nope", 1, "stream_not_found"),
        table("projection get nope", 1, "projection_not_found"),
        table("projection rebuild nope --wait", 1, "projection_not_found"),
        table("plugin logs nope", 1, "plugin_not_found"),
        table("plugin remove nope", 1, "plugin_not_found"),
        table(&format!("plugin deploy {}", empty.path().display()), 1, "component_invalid"),
        table("publish no-such-file.jsonl", 1, "file"),
        table("plugin check no-such-file.wasm", 1, "file"),
        table("raed", 2, "usage"),
        table("stream", 2, "usage"),
        table("read --from soon", 2, "usage"),
        table("plugin new Not-A-Name --lang rust", 2, "usage"),
        table("read --url https://127.0.0.1", 2, "usage"),
        table("config check --listen nowhere --call-deadline soon", 4, "configuration"),
        table("serve --listen 0.0.0.0:0", 4, "configuration"),
    ];
    let there = |line: &str| {
        let mut command = command(&host.url, line);
        command.current_dir(dir.path());
        command.spawn().expect("the binary starts")
    };
    for (line, code, reason) in failures {
        let ran = ended(there(&format!("{line} --output json")), PATIENCE).await;
        assert_eq!((ran.code, &ran.error()["code"]), (Some(code), &json!(reason)), "{line}: {}", ran.err);
        let ran = ended(there(&line), PATIENCE).await;
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{line}");
        assert!(!ran.err.is_empty() && !ran.err.contains("panicked"), "{line}: {}", ran.err);
    }
    for line in ["--version", "--help", "help stream list", "config check", "stream list", "read"] {
        assert_eq!(ended(there(line), PATIENCE).await.code, Some(0), "{line}");
    }
    let (code, _) = host.terminate().await;
    assert_eq!(code, Some(0), "a host that is asked to end has done its work");
    // Bound and not listening: nobody answers there, and nobody else can take it.
    let nobody = tokio::net::TcpSocket::new_v4().expect("a socket");
    nobody.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let url = format!("http://{}", nobody.local_addr().expect("an address"));
    let file = write(dir.path(), "orders.jsonl", &orders(1));
    for line in
        ["read", "tail", "stream list", "plugin list", "projection list", "bench append", &format!("publish {file}")]
    {
        let ran = ended(command(&url, &format!("{line} --output json")).spawn().expect("it starts"), PATIENCE).await;
        let error = ran.error();
        assert_eq!(
            (ran.code, &error["code"], &error["retryable"]),
            (Some(3), &json!("unreachable"), &json!(true)),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_token_is_asked_for_taken_and_never_shown() {
    let dir = std::sync::Arc::new(tempfile::tempdir().expect("a folder"));
    let host = TestHost::start_with(dir, &["--token", "correct-horse-battery"]).await;
    let with = async |token: &str| {
        ended(command(&host.url, "read").env("WASMILL_TOKEN", token).spawn().expect("it starts"), PATIENCE).await
    };
    assert_eq!(with("correct-horse-battery").await.code, Some(0));
    for (token, code) in [("wrong-secret", 1), ("wrong-secret\nof two lines", 2)] {
        let ran = with(token).await;
        assert_eq!(ran.code, Some(code), "{}", ran.err);
        assert!(!ran.err.contains("wrong-secret") && ran.err.contains("token"), "{}", ran.err);
    }
    assert!(run(&host, "read").await.err.contains("WASMILL_TOKEN"), "it says how to give one");
}

#[tokio::test]
async fn json_of_every_reading_command_holds_what_the_host_holds() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let (events, of) = (flights::events(), |name: &str, value: &Value| value[name].clone());
    flights::publish(&host, &events[..600]).await.expect("all are taken");
    host.deploy(&flights::rust_component()).await;
    let last = 599;

    let listed = run_json(&host, "stream list --limit 0").await.json();
    let by_stream: u64 =
        listed["streams"].as_array().expect("streams").iter().map(|s| s["events"].as_u64().expect("a count")).sum();
    assert_eq!((by_stream, listed.get("nextAfter")), (600, None));
    let page = run_json(&host, "stream list aircraft-* --limit 2").await.json();
    let next =
        run_json(&host, &format!("stream list --after {} --limit 1", page["nextAfter"].as_str().expect("more"))).await;
    assert_eq!(next.json()["streams"][0], listed["streams"][2], "a page goes on where the last one ended");
    let stream = run_json(&host, &format!("stream show {}", events[0].0)).await.json();
    let (_, expected) = host.get(&format!("/api/event-streams/{}", events[0].0)).await;
    for name in ["name", "firstOffset", "nextOffset", "lastPosition", "createdAt"] {
        assert_eq!(of(name, &stream), of(name, &expected), "{name}");
    }

    let carriers = format!("projection query flights carriers --wait-for {last}");
    let documents = run_json(&host, &carriers).await.json();
    let (_, expected) = host.get(&format!("/api/projections/flights/documents/carriers?waitFor={last}")).await;
    assert_eq!(documents["documents"], expected["documents"]);
    assert_eq!(documents["nextPosition"], json!(last + 1));
    let page = run_json(&host, &format!("{carriers} --limit 1")).await.json();
    assert_eq!(
        (&page["documents"][0], &page["nextAfter"]),
        (&documents["documents"][0], &documents["documents"][0]["key"])
    );
    let only = run_json(&host, &format!("{carriers} --prefix U --after UA")).await.json();
    assert_eq!(
        only["documents"].as_array().expect("documents").iter().map(|d| of("key", d)).collect::<Vec<_>>(),
        ["US"]
    );
    let one = run_json(&host, "projection query flights carriers UA").await.json();
    assert_eq!(one["key"], json!("UA"));
    assert!(documents["documents"].as_array().expect("documents").iter().any(|d| d["value"] == one["value"]));
    let late = run_json(&host, "projection query flights carriers UA --wait-for 600 --timeout 1ms").await;
    assert_eq!((late.code, &late.error()["code"]), (Some(1), &json!("position_not_reached")));

    let projection = run_json(&host, "projection get flights").await.json();
    assert_eq!((&projection["state"], &projection["behind"]), (&json!("live"), &json!(0)), "{projection}");
    assert_eq!(run_json(&host, "projection list").await.json()["projections"][0]["name"], json!("flights"));
    let plugin = run_json(&host, "plugin list").await.json()["plugins"][0].clone();
    assert_eq!((&plugin["kind"], &plugin["descriptor"]["name"]), (&json!("projection"), &json!("flights")));
    let checked = run_json(&host, &format!("plugin check {}", flights::rust_component().display())).await.json();
    assert_eq!(checked["sha256"], plugin["sha256"]);
    assert_eq!(run_json(&host, "plugin logs flights").await.code, Some(0));
    let config = command(&host.url, "config check --output json").current_dir(dir.path()).spawn().expect("it starts");
    assert_eq!(ended(config, PATIENCE).await.json()["listen"], json!("127.0.0.1:7400"));
    assert_eq!(run_json(&host, "plugin remove flights").await.json(), json!({ "removed": "flights" }));
}

#[tokio::test]
async fn a_rebuild_that_is_waited_for_serves() {
    let host = TestHost::start().await;
    flights::publish(&host, &flights::events()[..600]).await.expect("all are taken");
    host.deploy(&flights::rust_component()).await;
    let before = run_json(&host, "projection query flights totals all --wait-for 599").await.json();
    let old = run_json(&host, "projection get flights").await.json()["generation"].as_u64();
    let rebuilt = run_json(&host, "projection rebuild flights --wait").await.json();
    assert_eq!((&rebuilt["serving"], rebuilt["generation"].as_u64() > old), (&json!(true), true), "{rebuilt}");
    assert_eq!(run_json(&host, "projection get flights").await.json()["generation"], rebuilt["generation"]);
    assert_eq!(run_json(&host, "projection query flights totals all").await.json()["value"], before["value"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn read_and_tail_print_the_log_and_read_can_be_published_again() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let events = &flights::events()[..900];
    flights::publish(&host, events).await.expect("all are taken");
    let (_, page) = host.get("/api/events?limit=1000").await;
    let log = page["events"].as_array().expect("events").clone();

    assert_eq!(run_json(&host, "read").await.lines(), log);
    let mut backward = run_json(&host, "read --backward").await.lines();
    backward.reverse();
    assert_eq!(backward, log);
    assert_eq!(run_json(&host, "read --from 10 --limit 5").await.lines(), log[10..15]);
    let of = |name: &str, value: &str| log.iter().filter(|e| e[name] == value).cloned().collect::<Vec<_>>();
    assert_eq!(run_json(&host, "read --type flight.arr*").await.lines(), of("type", "flight.arrived"));
    assert_eq!(run_json(&host, &format!("read {}", events[0].0)).await.lines(), of("stream", &events[0].0));
    let text = run(&host, "read").await.out;
    for (line, event) in text.lines().zip(&log) {
        let place = format!("{}/{}", event["stream"].as_str().expect("a name"), event["offset"]);
        assert!(line.trim_start().starts_with(&format!("{} ", event["position"])) && line.contains(&place), "{line}");
    }
    assert_eq!(text.lines().count(), log.len());

    let mut tail = command(&host.url, "tail --from 0 --output json").spawn().expect("it starts");
    let mut lines = BufReader::new(tail.stdout.take().expect("stdout")).lines();
    let mut followed = Vec::new();
    while followed.len() < log.len() {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it comes in time").expect("a line");
        followed.push(serde_json::from_str::<Value>(&line.expect("it goes on")).expect("JSON"));
    }
    assert_eq!(followed, log);
    signal(&tail, "-INT").await;
    assert_eq!(ended(tail, PATIENCE).await.code, Some(0), "an interrupt is how it is meant to end");

    let (copy, file) = (TestHost::start().await, write(dir.path(), "log.jsonl", &log));
    assert_eq!(run_json(&copy, &format!("publish {file}")).await.json()["events"], json!(log.len()));
    let without_time = |mut event: Value| {
        event.as_object_mut().expect("an event").remove("recordedAt");
        event
    };
    let copied: Vec<Value> = run_json(&copy, "read").await.lines().into_iter().map(without_time).collect();
    assert_eq!(copied, log.into_iter().map(without_time).collect::<Vec<_>>());
}

/// Reads the first line of a command that has more to say.
async fn first_line(child: &mut Child) -> String {
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it comes in time");
    line.expect("a line").expect("there is one")
}

#[tokio::test]
async fn a_reader_that_has_had_enough_is_no_failure() {
    let host = TestHost::start().await;
    flights::publish(&host, &flights::events()[..2_000]).await.expect("all are taken");
    for line in ["read", "read --output json", "tail --from 0", "completions bash"] {
        let mut child = command(&host.url, line).spawn().expect("it starts");
        first_line(&mut child).await;
        let ran = ended(child, PATIENCE).await;
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{line}");
    }
}

#[tokio::test]
async fn a_signal_ends_unfinished_work_with_5_and_says_what_is_done() {
    let host = TestHost::start().await;
    for (number, name) in (1..).zip(["-INT", "-TERM"]) {
        let mut child = command(&host.url, "publish - --output json").stdin(Stdio::piped()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("stdin");
        stdin.write_all(b"{\"stream\":\"s\",\"type\":\"t\",\"data\":{}}\n").await.expect("written");
        // What comes through a pipe is stored before there is more: then it is at work.
        let mut tail = command(&host.url, &format!("tail --from {}", number - 1)).spawn().expect("it starts");
        assert!(first_line(&mut tail).await.contains(" s/"));
        signal(&child, name).await;
        let ran = ended(child, PATIENCE).await;
        let error = ran.error();
        assert_eq!((ran.code, &error["code"]), (Some(5), &json!("interrupted")), "{name}: {error}");
        assert_eq!(error["facts"], json!({ "published": 1, "lastPosition": number - 1 }));
    }
}

#[tokio::test]
async fn a_host_that_goes_away_gives_3_and_tail_says_where_to_go_on() {
    let mut host = TestHost::start().await;
    host.publish("s", &json!([{ "type": "t", "data": 1 }, { "type": "t", "data": 2 }])).await;
    let mut tail = command(&host.url, "tail --from 0").spawn().expect("it starts");
    let mut lines = BufReader::new(tail.stdout.take().expect("stdout")).lines();
    for _ in 0..2 {
        tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it comes in time").expect("a line");
    }
    host.kill().await;
    let ran = ended(tail, PATIENCE).await;
    assert_eq!(ran.code, Some(3), "{}", ran.err);
    assert!(ran.err.contains("--from 2"), "{}", ran.err);
}

#[tokio::test]
async fn completions_for_bash_know_every_command() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let script = run(&host, "completions bash").await.out;
    let ask = |words: &str, last: &str| {
        let count = words.split(' ').count();
        format!(
            "COMP_WORDS=({words} {last}); COMP_CWORD={count}; _wasmill wasmill {last} x; echo \"${{COMPREPLY[@]}}\"\n"
        )
    };
    let questions = ask("wasmill", "pro") + &ask("wasmill stream", "l") + &ask("wasmill plugin new", "--la");
    // In a file, since it is longer than an argument may be.
    std::fs::write(dir.path().join("ask.sh"), format!("{script}\n{questions}")).expect("written");
    let output = Command::new("bash").arg(dir.path().join("ask.sh")).output().await.expect("bash runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "projection\nlist\n--lang\n", "{output:?}");
    for name in ["serve", "demo", "publish", "read", "tail", "group", "plugin", "bench", "config", "completions"] {
        assert!(script.contains(&format!("wasmill,{name})")), "{name} is not known");
    }
}

#[tokio::test]
async fn a_measurement_with_a_host_of_its_own_leaves_nothing_behind() {
    let (host, dir) = (TestHost::start().await, tempfile::tempdir().expect("a folder"));
    let mut bench = command(&host.url, "bench replay --events 1000 --spawn --output json");
    let report = ended(bench.env("TMPDIR", dir.path()).spawn().expect("it starts"), PATIENCE).await.json();
    assert_eq!(report["measurements"][0]["events"], json!(1_000), "{report}");
    assert_eq!(host.get("/api/events").await.1["events"], json!([]), "the host of the environment is left alone");
    assert_eq!(std::fs::read_dir(dir.path()).expect("a folder").count(), 0);
}

/// Writes a project where it is written every time, so that cargo's artefacts do not pile up.
pub async fn new_project(host: &TestHost, name: &str, lang: &str) -> (std::path::PathBuf, Value) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).expect("removed");
    }
    let line = format!("plugin new {name} --lang {lang} --path {}", path.display());
    let written = run_json(host, &line).await.json();
    let again = run_json(host, &line).await;
    assert_eq!((again.code, &again.error()["code"]), (Some(1), &json!("folder_not_empty")), "nothing is overwritten");
    (path, written)
}

/// Deploys what the build has made, as the command says; its projection counts events by type.
pub async fn deploys_and_counts(host: &TestHost, name: &str, component: &Path) {
    let deploy = format!("plugin deploy {}", component.display());
    let deployed = run_json(host, &deploy).await.json();
    assert_eq!((&deployed["plugin"]["name"], &deployed["changed"]), (&json!(name), &json!(true)));
    assert_eq!(run_json(host, &deploy).await.json()["changed"], json!(false));
    host.publish("s", &json!([{ "type": "a", "data": 1 }, { "type": "b", "data": {} }])).await;
    let last = host.publish("s", &json!([{ "type": "b", "data": "x" }])).await["lastPosition"].clone();
    let query = format!("projection query {name} types --wait-for {last}");
    let counted = run_json(host, &query).await.json();
    let counts: Vec<_> = counted["documents"]
        .as_array()
        .expect("documents")
        .iter()
        .map(|d| (&d["key"], &d["value"]["events"]))
        .collect();
    assert_eq!(counts, [(&json!("a"), &json!(1)), (&json!("b"), &json!(2))]);
    assert!(run(host, &query).await.out.starts_with("a  {\"events\":1,"));
}

#[tokio::test]
async fn a_new_rust_plugin_builds_as_it_is_deploys_and_answers() {
    let host = TestHost::start().await;
    let (path, written) = new_project(&host, "cli-orders", "rust").await;
    // The versions that this checkout has fetched already, so that it builds without a network.
    std::fs::copy(root().join("Cargo.lock"), path.join("Cargo.lock")).expect("copied");
    let target = binary().ancestors().nth(2).expect("target/release/wasmill").join("guests");
    let mut words = written["build"].as_str().expect("a command").split(' ');
    let mut build = Command::new(words.next().expect("cargo"));
    build.args(words).current_dir(&path).env("CARGO_TARGET_DIR", &target).env("CARGO_NET_OFFLINE", "true");
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_TARGET"] {
        build.env_remove(name);
    }
    let build = build.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn();
    let built = ended(build.expect("cargo runs"), BUILD_PATIENCE).await;
    assert_eq!(built.code, Some(0), "{}", built.err);
    let component = written["component"].as_str().expect("a path").strip_prefix("target/").expect("cargo's own folder");
    deploys_and_counts(&host, "cli-orders", &target.join(component)).await;
}

#[tokio::test]
async fn a_new_javascript_plugin_builds_as_it_is_deploys_and_answers() {
    let modules = root().join("plugins/flights-js/node_modules");
    if !modules.exists() {
        return skip("the modules of plugins/flights-js are not installed (tests/run)");
    }
    let host = TestHost::start().await;
    let (path, written) = new_project(&host, "cli-orders-js", "js").await;
    // What `npm install` would fetch: the template asks for the same versions.
    std::os::unix::fs::symlink(modules, path.join("node_modules")).expect("linked");
    let command =
        written["build"].as_str().expect("a command").strip_prefix("npm install && ").expect("npm's two steps");
    for line in [command, "npm test"] {
        let mut words = line.split(' ');
        let mut npm = Command::new(words.next().expect("npm"));
        npm.args(words).current_dir(&path).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ran = ended(npm.kill_on_drop(true).spawn().expect("npm runs"), BUILD_PATIENCE).await;
        assert_eq!(ran.code, Some(0), "{line}: {}{}", ran.out, ran.err);
    }
    deploys_and_counts(&host, "cli-orders-js", &path.join(written["component"].as_str().expect("a path"))).await;
}
