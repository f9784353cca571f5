//! The disk is full: appends fail and say so, reads go on, and so do appends when there is room.

use std::sync::Arc;

use super::load::Load;
use super::publisher::NO_CONNECTION;
use super::tmpfs::Tmpfs;
use super::verify::whole_log;
use crate::support::rng::Rng;
use crate::support::{TestHost, long};
use crate::tidy::skip;

/// The disk is full when the load has filled it: small appends go on for a while after the first large
/// one has failed, up to the last page.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_takes_nothing_in_and_loses_nothing() {
    let mut rng = Rng::printed("a_full_disk_takes_nothing_in_and_loses_nothing");
    let mut mib = 4;
    let Some(disk) = Tmpfs::mount(mib) else { return skip("this process may not mount a tmpfs: run it as root") };
    let mut host = TestHost::start_in(Arc::clone(&disk.dir)).await;
    let load = Load::start(&[&host], &mut rng);
    for _ in 0..if long() { 40 } else { 5 } {
        load.is_told(&["storage_failed"]).await;
        // Whatever is stored can be read, and is what followers see.
        let stored = whole_log(&host).await.len();
        for _ in 0..200 {
            load.is_told(&["storage_failed"]).await;
        }
        let (status, health) = host.get("/health").await;
        assert_eq!((status, &health["writer"]), (200, &"ok".into()), "{health}");
        if rng.below(2) == 0 {
            // What is stored can be read even by a host that starts on the full disk.
            let dir = host.kill().await;
            host = TestHost::start_in(dir).await;
            load.moved(0, &host);
        }
        assert!(whole_log(&host).await.len() >= stored);
        mib += 2 + rng.below(4);
        disk.resize(mib);
        load.acknowledges(100).await;
    }
    disk.resize(mib + 64);
    let outcome = load.finish(&host).await;
    for (_, published) in &outcome.publishers {
        for (code, (_, message)) in &published.errors {
            if code == NO_CONNECTION {
                continue;
            }
            assert_eq!(code, "storage_failed");
            assert!(message.contains("disk") && message.contains("full"), "{message}");
        }
    }
    let log = whole_log(&host).await;
    outcome.verify(&log);
    let (code, dir) = host.terminate().await;
    assert_eq!(code, Some(0));
    outcome.verify(&whole_log(&TestHost::start_in(dir).await).await);
}
