//! Crashes, from the outside: the files as they are at some moment, opened by somebody else.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::watch;
use wasmill_core::event::Position;
use wasmill_core::record::GenerationId;
use wasmill_core::store::{Change, DocumentStore, LogStore, PluginStore, Store, Unit};

use super::{NOW, SqliteStore, advance, append, commit, event, generation, log, open, put, scratch};
use crate::sqlite::checkpointer::Copier;
use wasmill_core::random::{Random, seeds};

/// Events of unit `n`.
fn count(n: u64) -> u64 {
    1 + n % 5
}

/// Unit `n`: some events, one document, and the checkpoint that counts the units.
fn unit(n: u64) -> Unit {
    let stream = format!("s-{}", n % 3);
    let first: u64 = (0..n).map(count).sum();
    let events: Vec<_> =
        (first..first + count(n)).map(|id| event(&stream, u128::from(id), vec![n as u8; 300])).collect();
    Unit { changes: vec![put(1, &format!("{n:06}"), "v"), advance(1, n, n + 1)], ..append(&stream, events) }
}

/// A database in which nothing but the generation is there.
async fn begin(path: &Path) -> SqliteStore {
    let store = open(path).await;
    commit(&store, Unit::change(vec![Change::CreateGeneration(generation(1))])).await.unwrap();
    store
}

/// How many units the database holds: all of each, and none of any other.
async fn units_in(path: &Path) -> u64 {
    let store = open(path).await;
    let units = store.generations().await.unwrap()[0].checkpoint.0;
    let ids: Vec<u128> = log(&store).await.iter().map(|event| event.id().as_u128()).collect();
    let all: u64 = (0..units).map(count).sum();
    assert_eq!(ids, (0..u128::from(all)).collect::<Vec<_>>(), "the events of {units} units");
    assert_eq!(store.head().await.unwrap().next_position, Position(all));
    let documents = store.scan(GenerationId(1), "c", "", None, 1_000_000).await.unwrap().documents;
    let keys: Vec<String> = documents.into_iter().map(|document| document.key).collect();
    assert_eq!(keys, (0..units).map(|n| format!("{n:06}")).collect::<Vec<_>>(), "the documents of {units} units");
    // And it goes on from there.
    commit(&store, unit(units)).await.unwrap();
    store.close().await;
    units
}

fn wal(path: &Path) -> PathBuf {
    path.with_extension("db-wal")
}

/// Salts and counter of the write-ahead log: others, once it has been started over.
fn wal_header(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(wal(path)).ok()?.get(..32).map(<[u8]>::to_vec)
}

/// Copies the files as they are between two moments in which the write-ahead log was the same one.
/// What a crash leaves lies between them: the log only grows, and holds all that the checkpointer may
/// be copying into the database meanwhile.
fn copy_running(from: &Path, to: &Path) {
    for _ in 0..10_000 {
        let before = wal_header(from);
        std::fs::copy(from, to).unwrap();
        std::fs::copy(wal(from), wal(to)).unwrap();
        if before.is_some() && before == wal_header(from) {
            return;
        }
    }
    panic!("the write-ahead log is started over all the time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_crash_at_any_moment_loses_nothing_that_was_answered() {
    for seed in seeds(3) {
        let mut random = Random::new(seed);
        let (directory, path) = scratch();
        let store = Arc::new(begin(&path).await);
        let (answered, mut seen) = watch::channel(0);
        let writing = tokio::spawn({
            let store = Arc::clone(&store);
            async move {
                // Groups of 1 to 4 units, until nobody looks any more.
                while !answered.is_closed() {
                    let n = *answered.borrow();
                    let group: Vec<Unit> = (n..=n + n % 4).map(unit).collect();
                    store.commit(&group, NOW).await.unwrap().into_iter().for_each(|outcome| drop(outcome.unwrap()));
                    answered.send_replace(n + group.len() as u64);
                }
            }
        });
        let copying = tokio::spawn({
            let (store, mut copier) = (Arc::clone(&store), Copier::new(path.as_path().into(), 400));
            async move {
                loop {
                    copier.look(&store.writer).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        });
        for copy in 0..8 {
            let moment = *seen.borrow() + random.below(60);
            let answered = *seen.wait_for(|n| *n >= moment).await.unwrap();
            let to = directory.path().join(format!("{copy}.db"));
            copy_running(&path, &to);
            let found = units_in(&to).await;
            assert!(found >= answered, "{answered} units were answered, {found} are there");
        }
        copying.abort();
        drop(seen);
        writing.await.unwrap();
    }
}

/// What a power cut may leave of a file that was only written at its end: any part of what was not
/// synced yet, or other bytes in its place.
#[tokio::test]
async fn a_log_that_ends_anywhere_holds_the_whole_units_before() {
    for seed in seeds(1) {
        let mut random = Random::new(seed);
        let (directory, path) = scratch();
        let store = begin(&path).await;
        store.checkpointer.stop().await;
        let mut ends = vec![wal(&path).metadata().unwrap().len()];
        for n in 0..40 {
            commit(&store, unit(n)).await.unwrap();
            ends.push(wal(&path).metadata().unwrap().len());
        }
        let (database, log) = (std::fs::read(&path).unwrap(), std::fs::read(wal(&path)).unwrap());
        for n in 0..60 {
            let at = ends[0] + random.below(ends[ends.len() - 1] - ends[0]);
            let mut left = log.clone();
            match n % 3 {
                0 => left.truncate(at as usize),
                1 => left[at as usize] ^= 1 << random.below(8),
                _ => left[at as usize..].iter_mut().for_each(|byte| *byte = random.number() as u8),
            }
            let to = directory.path().join(format!("{n}.db"));
            std::fs::write(&to, &database).unwrap();
            std::fs::write(wal(&to), left).unwrap();
            let whole = ends.iter().filter(|end| **end <= at).count() as u64 - 1;
            assert_eq!(units_in(&to).await, whole, "units in a log that is good up to byte {at}");
        }
    }
}
