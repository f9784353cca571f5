//! What a plugin may not do to its host.

use std::cell::RefCell;
use std::hint::black_box;

use serde_json::Value;
use wasmill_guest::{Failure, State, log};

use crate::BOMBS;

pub(crate) fn spin() -> ! {
    loop {
        black_box(());
    }
}

pub(crate) fn gigabyte() {
    black_box(vec![1_u8; 1 << 30]);
}

pub(crate) fn recurse() {
    #[expect(unconditional_recursion, reason = "that is what it is for")]
    fn deeper(depth: u64) -> u64 {
        let frame = black_box([depth; 64]);
        deeper(depth + 1) + frame[0]
    }
    black_box(deeper(0));
}

/// Keeps a megabyte for as long as the instance lives.
pub(crate) fn leak() {
    thread_local! {
        static KEPT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    }
    KEPT.with_borrow_mut(|kept| kept.push(vec![1; 1 << 20]));
}

/// Takes handles from the host and gives none back.
#[cfg(target_family = "wasm")]
pub(crate) fn handle_leak() {
    loop {
        std::mem::forget(wasip2::cli::stdout::get_stdout());
    }
}

#[cfg(not(target_family = "wasm"))]
pub(crate) fn handle_leak() {}

/// 100 MB in 100,000 lines.
pub(crate) fn log_flood() {
    let line = "flood ".repeat(170);
    for _ in 0..100_000 {
        log::info(&line);
    }
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the host turns both into lines of the plugin's log")]
pub(crate) fn print(id: &str) {
    println!("printed by event {id}");
    eprintln!("complained by event {id}");
}

/// Writes documents for ever, each below the limit of a document and 1 MiB in each call of the host: the
/// host has to count what they come to. The SDK holds changes back until a scan needs them.
pub(crate) fn state_bomb(state: &mut State) -> Result<(), Failure> {
    let document = Value::String("x".repeat(200 * 1024));
    for n in 0_u64.. {
        state.put(&BOMBS, &format!("bomb-{n:012}"), &document)?;
        if n % 5 == 4 {
            state.scan_page(&BOMBS, "none", None, 1)?;
        }
    }
    Ok(())
}
