//! The example page in a real browser.

use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use super::{folder, publish, start};
use crate::support::TestHost;
use crate::support::host::PATIENCE;
use crate::tidy::skip;

fn chromium() -> Option<String> {
    let given = std::env::var("WASMILL_CHROMIUM").ok();
    let known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(String::from);
    given.into_iter().chain(known).find(|path| std::path::Path::new(path).exists())
}

#[tokio::test]
async fn the_page_shows_live_events_and_goes_on_after_its_host_was_killed() {
    let Some(chromium) = chromium() else {
        return skip("chromium is not installed (tests/run does it on Debian)");
    };
    let mut serving = Command::new("node");
    serving.args(["serve.mjs", "0"]).current_dir(folder()).stdin(Stdio::null()).stdout(Stdio::piped());
    let Ok(mut serving) = serving.kill_on_drop(true).spawn() else { return skip("node is not installed") };
    let mut said = BufReader::new(serving.stdout.take().expect("it is piped")).lines();
    let page = tokio::time::timeout(PATIENCE, said.next_line()).await.expect("in time").expect("text");
    let page = page.expect("it says where it is");
    let (dir, origin) = (Arc::new(tempfile::tempdir().expect("a temporary folder")), page.trim_end_matches('/'));
    let mut host = TestHost::start_with(dir, &["--allowed-origin", origin]).await;
    let url = host.url.clone();
    publish(&host, "order-1", 0, 5, false).await;
    let Some(mut script) = start("test/page.mjs", &[&url, &page, &chromium], None) else { return };
    let mut seen = Vec::new();
    // History, then live events, then those after a new host has taken the place of a killed one.
    while rows(&seen) < 5 {
        seen.push(script.line().await.expect("it goes on"));
    }
    publish(&host, "order-1", 5, 10, false).await;
    while rows(&seen) < 10 {
        seen.push(script.line().await.expect("it goes on"));
    }
    let dir = host.kill().await;
    host = TestHost::start_again_with(dir, &url, &["--allowed-origin", origin]).await;
    publish(&host, "order-1", 10, 15, true).await;
    seen.extend(script.rest().await);
    assert_eq!(seen[0], "connected", "{seen:?}");
    let mut expected: Vec<String> = (0..15).map(|n| format!("row {n} counted {{\"n\":{n}}}")).collect();
    expected.push("row 15 end {}".into());
    assert_eq!(seen[1..], expected);
}

fn rows(seen: &[String]) -> usize {
    seen.iter().filter(|line| line.starts_with("row")).count()
}
