//! The pulse by which guests are interrupted.

use std::time::Duration;

use wasmtime::Engine;

/// How often a running guest hands its thread on and its deadline is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Starts the thread that moves the engine's epoch. It ends with the engine, which lives as long as
/// anything that was compiled by it.
pub(crate) fn start(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    let pulse = move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            // Nobody unparks it, and a pulse that came early would do no harm.
            std::thread::park_timeout(TICK);
        }
    };
    std::thread::Builder::new().name("wasm-ticker".into()).spawn(pulse).map(drop)
}
