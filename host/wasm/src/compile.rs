//! Machine code out of a component that keeps the contract.

use wasmill_core::guest::ComponentError;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::threads::give_way;

/// Compiles on threads of its own, which end with it and give way to all others: wasmtime would take one for each
/// core, and the host has other work.
pub(crate) fn compile(engine: &Engine, component: &[u8], threads: usize) -> Result<Component, ComponentError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).thread_name(|_| "wasm-compile".into());
    let pool = pool.start_handler(|_| give_way());
    let pool = pool.build().map_err(|error| ComponentError::Compile(error.to_string()))?;
    let compiled = pool.install(|| Component::from_binary(engine, component)).map_err(|error| {
        let reason = format!("{error:#}");
        // The second is how wasmtime reports the body of a function; the type of it is not public.
        let invalid = error.is::<wasmparser::BinaryReaderError>() || reason.contains("Invalid input WebAssembly");
        if invalid { ComponentError::Invalid(reason) } else { ComponentError::Compile(reason) }
    });
    drop(pool);
    give_memory_back();
    compiled
}

/// A compilation frees hundreds of megabytes in small pieces, which glibc would keep for the next one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_memory_back() {
    // SAFETY: it takes no pointer, and may be called at any time on any thread.
    unsafe { libc::malloc_trim(0) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_memory_back() {}
