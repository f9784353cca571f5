//! Damaged components: bytes are flipped, cut out, repeated and taken from others. Whatever they are, the
//! engine answers with a reason or a module, and a module answers a call.

use std::time::Duration;

use bytes::Bytes;
use wasmill_core::guest::{ComponentError, GuestEngine, GuestModule};
use wasmill_core::random::{Random, seeds};
use wasmill_wasm::{WasmConfig, WasmEngine};

use crate::support::{IDLE, built, engine_with, event, start};

/// Of a small component, and of real ones, which take a compiler longer.
const SMALL: usize = 600;
const REAL: usize = 12;
/// A hang is not slow: it does not end.
const PATIENCE: Duration = Duration::from_mins(2);

struct Damage(Random);

impl Damage {
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.0.below(end.max(1) as u64)).unwrap()
    }

    /// A piece of `bytes`, mostly short.
    fn piece(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let longest = [4, 64, bytes.len()][self.below(3)];
        let start = self.below(bytes.len());
        start..bytes.len().min(start + self.below(longest) + 1)
    }

    fn done_to(&mut self, whole: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = whole.to_vec();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                break;
            }
            match self.below(6) {
                0 => {
                    let at = self.below(bytes.len());
                    bytes[at] ^= 1 << self.below(8);
                }
                1 => {
                    let at = self.below(bytes.len());
                    bytes[at] = u8::try_from(self.below(256)).unwrap();
                }
                2 => {
                    let piece = self.piece(&bytes);
                    bytes.drain(piece);
                }
                3 => {
                    let (piece, at) = (self.piece(&bytes), self.below(bytes.len()));
                    let copy = bytes[piece].to_vec();
                    bytes.splice(at..at, copy);
                }
                4 => {
                    let (piece, at) = (self.piece(other), self.below(bytes.len()));
                    let until = bytes.len().min(at + piece.len());
                    bytes.splice(at..until, other[piece].iter().copied());
                }
                _ => bytes.truncate(self.below(whole.len())),
            }
        }
        bytes
    }
}

fn engine() -> WasmEngine {
    let (call_deadline, start_deadline) = (Duration::from_millis(100), Duration::from_millis(100));
    engine_with(WasmConfig { call_deadline, start_deadline, ..WasmConfig::default() })
}

async fn answers(engine: &WasmEngine, component: Bytes) {
    let Ok(compiled) = tokio::time::timeout(PATIENCE, engine.compile(component)).await else {
        panic!("the compiler did not come back");
    };
    let module = match compiled {
        Ok(module) => module,
        Err(ComponentError::Compile(reason)) => {
            assert!(!reason.contains("crashed"), "the compiler crashed");
            return;
        }
        Err(ComponentError::Invalid(_) | ComponentError::Refused(_)) => return,
    };
    let called = tokio::time::timeout(PATIENCE, call(&*module, &module)).await;
    called.expect("the guest did not come back");
}

/// Whatever comes of it, it comes.
async fn call(described: &dyn GuestModule, module: &std::sync::Arc<dyn GuestModule>) {
    let _ = described.describe().await;
    if let Ok(mut running) = start(module).await {
        let _ = running.apply(vec![event("a", "{}")]).await;
    }
}

async fn healthy(engine: &WasmEngine) {
    let good = engine.compile(IDLE.bytes()).await.unwrap();
    start(&good).await.unwrap().apply(vec![event("a", "{}")]).await.1.unwrap();
}

#[tokio::test]
async fn a_damaged_component_is_refused_or_runs_within_its_limits() {
    let engine = engine();
    let (small, other) = (IDLE.bytes(), built("user-v1-to-v3"));
    for seed in seeds(runs()) {
        let mut damage = Damage(Random::new(seed));
        for _ in 0..SMALL {
            answers(&engine, damage.done_to(&small, &other).into()).await;
        }
    }
    healthy(&engine).await;
}

#[tokio::test]
async fn a_damaged_plugin_of_rust_is_refused_or_runs_within_its_limits() {
    let engine = engine();
    for seed in seeds(runs()) {
        let mut damage = Damage(Random::new(seed));
        for (name, other) in [
            ("user-statistics", "test-handler"),
            ("test-handler", "flights"),
            ("test-saga", "test-handler"),
            ("test-upcaster", "welcome"),
        ] {
            let (whole, other) = (built(name), built(other));
            for _ in 0..REAL {
                answers(&engine, damage.done_to(&whole, &other).into()).await;
            }
        }
    }
    healthy(&engine).await;
}

fn runs() -> u64 {
    if std::env::var_os("WASMILL_TEST_LONG").is_some() { 50 } else { 1 }
}
