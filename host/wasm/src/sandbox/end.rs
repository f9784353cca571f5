//! How a call ended, in words for the one who wrote the plugin.

use wasmill_core::guest::{GuestError, Limit};
use wasmtime::component::ResourceTableError;
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use super::Sandbox;

const FRAMES_MAX: usize = 5;
const REASON_CHARS_MAX: usize = 1_500;
/// Frames of these say how a panic works, not where it was.
const PANIC_MACHINERY: [&str; 8] =
    ["rust_", "__rust", "_RNv", "std::", "core::panicking", "core::option", "core::result", "abort"];

impl Sandbox {
    /// What became of a call that wasmtime ended with `error`.
    pub(super) fn why_it_ended(&mut self, error: &wasmtime::Error) -> GuestError {
        let known = self.ended.take().or_else(|| self.memory.refused.take());
        known.unwrap_or_else(|| {
            let reason = self.reason(error);
            match exhausted(error) {
                Some(limit) => GuestError::Exhausted { limit, reason },
                None => GuestError::Trapped { reason },
            }
        })
    }

    fn reason(&self, error: &wasmtime::Error) -> String {
        let mut reason = match error.downcast_ref::<Trap>() {
            Some(trap) => in_plain_words(*trap),
            None => match error.downcast_ref::<I32Exit>() {
                Some(exit) => format!("it exited with status {}", exit.0),
                None => cause(error),
            },
        };
        let frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
        if !frames.is_empty() {
            reason = format!("{reason}, in {}", frames.join(" < "));
        }
        let last_words = self.output.last_words();
        if !last_words.is_empty() {
            reason = format!("{reason}; its last words: {last_words}");
        }
        reason.chars().take(REASON_CHARS_MAX).collect()
    }
}

/// The limit that a trap is about. Of the handles of a store wasmtime has only a sentence.
fn exhausted(error: &wasmtime::Error) -> Option<Limit> {
    match (error.downcast_ref::<Trap>(), error.downcast_ref::<ResourceTableError>()) {
        (Some(Trap::StackOverflow), _) => Some(Limit::Stack),
        (_, Some(ResourceTableError::Full)) => Some(Limit::Handles),
        _ => error.root_cause().to_string().contains("handle limit").then_some(Limit::Handles),
    }
}

fn cause(error: &wasmtime::Error) -> String {
    if let Some(full) = error.downcast_ref::<PoolConcurrencyLimitError>() {
        return format!("it could not start, since too many plugins are running ({full})");
    }
    error.root_cause().to_string()
}

fn in_plain_words(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "it panicked or aborted".into(),
        Trap::StackOverflow => "it ran out of stack (a recursion without an end?)".into(),
        Trap::MemoryOutOfBounds => "it touched memory that is not its own (a wild pointer, or out of stack)".into(),
        other => other.to_string(),
    }
}

/// The innermost functions that have names.
fn frames(backtrace: &WasmBacktrace) -> Vec<String> {
    let named = backtrace.frames().iter().filter_map(|frame| frame.func_name());
    let readable = named.map(|name| format!("{:#}", rustc_demangle::demangle(name)));
    readable.filter(|name| !PANIC_MACHINERY.iter().any(|prefix| name.starts_with(prefix))).take(FRAMES_MAX).collect()
}
