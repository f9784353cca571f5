//! fsync fails: nothing is acknowledged that is not on the disk, and the host stops.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::kill::folder;
use super::load::Load;
use super::publisher::NO_CONNECTION;
use super::strace::{Call, Strace, calls, traced};
use super::verify::whole_log;
use crate::support::host::command;
use crate::support::rng::Rng;
use crate::support::{TestHost, long};
use crate::tidy::skip;

const DATABASE: &str = "wasmill.db";
const LOG: &str = "wasmill.db-wal";

/// Fails all syncs from a moment on, or one, in turn. A host that starts on what is there has everything that was
/// acknowledged, and so has one that starts on what a power cut at that moment would have left.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_stops_the_host_and_no_acknowledged_event_is_lost() {
    let mut rng = Rng::printed("a_failed_sync_stops_the_host_and_no_acknowledged_event_is_lost");
    for round in 0..if long() { 40 } else { 4 } {
        let for_good = round % 2 == 0;
        let host = TestHost::start().await;
        let load = Load::start(&[&host], &mut rng);
        load.acknowledges(1 + rng.below(500)).await;
        // strace counts for each thread: of a host that is to have no disk any more, all fail at once.
        let inject = if for_good { "error=EIO".into() } else { format!("error=EIO:when={}", 1 + rng.below(40)) };
        let seen = host.dir.path().join("strace");
        let strace = match Strace::attach(&host, &inject, seen).await {
            Ok(strace) => strace,
            Err(why) => return skip(&why),
        };
        let (code, said, dir) = host.ends().await;
        let outcome = load.give_up().await;
        outcome.assert_told_only(&["storage_failed", "draining", NO_CONNECTION]);
        assert_eq!(code, Some(1), "a host that has to stop says so: {said:#?}");
        let last = said.last().expect("it says why");
        assert!(last.starts_with("error[serve]: the host had to stop: writer:") && last.contains(DATABASE), "{last}");
        assert!(last.contains("sync"), "{last}");
        let calls = strace.ends().await;
        assert!(calls.iter().any(|call| matches!(call, Call::SyncFailed { file } if file.ends_with(LOG))), "{calls:?}");
        if for_good {
            let left = folder();
            leave_what_was_synced(&calls, dir.path(), left.path());
            outcome.verify(&whole_log(&TestHost::start_in(left).await).await);
        }
        let host = TestHost::start_in(dir).await;
        outcome.verify(&whole_log(&host).await);
        host.assert_healthy().await;
    }
}

/// Copies the database as a power cut leaves it: of both files, what was written after the last sync that
/// succeeded is zeros.
fn leave_what_was_synced(calls: &[Call], from: &Path, to: &Path) {
    for name in [DATABASE, LOG] {
        let mut lost = Vec::new();
        for call in calls.iter().filter(|call| call.file().ends_with(name)) {
            match call {
                Call::Written { at, bytes, .. } => lost.push((*at, *bytes)),
                Call::Synced { .. } => lost.clear(),
                Call::SyncFailed { .. } => {}
            }
        }
        // Page 1 was synced when the file was made: its later versions overwrite it in place.
        lost.retain(|(at, _)| name == LOG || *at > 0);
        let file = to.join(name);
        std::fs::copy(from.join(name), &file).expect("it is copied");
        let file = std::fs::File::options().write(true).open(file).expect("it can be written");
        for (at, bytes) in lost {
            file.write_all_at(&vec![0; bytes], at).expect("it is written");
        }
    }
}

/// A host that is killed between writing and syncing leaves events that are in the kernel's memory
/// alone. The next one reads them, and would tell a publisher that they are known: so it syncs first.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_host_did_not_sync_is_synced_before_it_is_read() {
    let mut rng = Rng::printed("what_a_killed_host_did_not_sync_is_synced_before_it_is_read");
    let mut host = TestHost::start().await;
    let load = Load::start(&[&host], &mut rng);
    load.acknowledges(100).await;
    let seen = folder();
    // The next sync takes longer than the test.
    let strace = match Strace::attach(&host, "delay_enter=600000000", seen.path().join("before")).await {
        Ok(strace) => strace,
        Err(why) => return skip(&why),
    };
    strace.sees_a_sync(LOG).await;
    // A signal first: without strace the sync would go on.
    host.signal("KILL").await;
    drop(strace);
    let dir = host.kill().await;
    let outcome = load.give_up().await;
    let trace = seen.path().join("after");
    let host = TestHost::try_start(traced(&command(dir.path()), &trace), dir).await.expect("it starts");
    // It listens now: what it has done is in the trace.
    let synced = calls(&trace).iter().any(|call| matches!(call, Call::Synced { file } if file.ends_with(LOG)));
    assert!(synced, "{:?}", calls(&trace));
    outcome.verify(&whole_log(&host).await);
}
