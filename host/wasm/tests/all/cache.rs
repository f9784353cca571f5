//! Compiled once, and never trusted when it is damaged.

use std::path::{Path, PathBuf};

use wasmill_core::guest::GuestEngine;
use wasmill_wasm::{WasmConfig, WasmEngine};

use crate::support::{IDLE, engine_with};

fn engine_in(dir: &Path) -> WasmEngine {
    engine_with(WasmConfig { cache_dir: Some(dir.join("compiled")), ..WasmConfig::default() })
}

fn files(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir.join("compiled")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn a_compiled_component_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let module = engine_in(dir.path()).compile(IDLE.bytes()).await.unwrap();
    let engine = engine_in(dir.path());
    let cached = engine.cached(module.sha256()).await.expect("it was kept");
    assert_eq!(cached.sha256(), module.sha256());
    assert_eq!(cached.describe().await.unwrap(), "{}");
    let other = "0".repeat(64);
    assert!(engine.cached(&other).await.is_none());
    assert!(engine.cached("../../etc/passwd").await.is_none());
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_may_look_into_the_cache() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let _engine = engine_in(dir.path());
    let mode = std::fs::metadata(dir.path().join("compiled")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[tokio::test]
async fn a_damaged_file_is_compiled_again() {
    let dir = tempfile::tempdir().unwrap();
    let sha256 = engine_in(dir.path()).compile(IDLE.bytes()).await.unwrap().sha256().to_owned();
    let [path] = &files(dir.path())[..] else { panic!() };
    let whole = std::fs::read(path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damaged in [&whole[..whole.len() / 2], &whole[..whole.len() - 1], &whole[..8], &[], &flipped] {
        // As the host would replace it: an instance may still run from the old file.
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, damaged).unwrap();
        let engine = engine_in(dir.path());
        assert!(engine.cached(&sha256).await.is_none(), "{} bytes", damaged.len());
        engine.compile(IDLE.bytes()).await.unwrap();
        assert!(engine.cached(&sha256).await.is_some());
    }
}

#[tokio::test]
async fn what_an_older_engine_left_goes() {
    let dir = tempfile::tempdir().unwrap();
    let compiled = dir.path().join("compiled");
    std::fs::create_dir(&compiled).unwrap();
    for name in ["aa-0123456789abcdef.cwasm", "bb-0123456789abcdef.tmp", "notes.txt"] {
        std::fs::write(compiled.join(name), "x").unwrap();
    }
    let _engine = engine_in(dir.path());
    assert_eq!(files(dir.path()), [compiled.join("notes.txt")]);
}

#[tokio::test]
async fn the_cache_has_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        WasmConfig { cache_dir: Some(dir.path().join("compiled")), cache_bytes_max: 1, ..WasmConfig::default() };
    let engine = engine_with(config);
    let first = engine.compile(IDLE.bytes()).await.unwrap();
    let second = crate::support::ByHand { pages: 3, ..IDLE };
    let second = engine.compile(second.bytes()).await.unwrap();
    assert_eq!(files(dir.path()).len(), 1);
    assert!(engine.cached(second.sha256()).await.is_some());
    assert!(engine.cached(first.sha256()).await.is_none());
    assert_eq!(first.describe().await.unwrap(), "{}", "what runs from a removed file runs on");
}
