//! What an operator can set about plugins. Every limit is on by default.

use std::path::PathBuf;
use std::time::Duration;

const MIB: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub struct WasmConfig {
    /// Threads that run guests and nothing else, so that a busy plugin costs the host's own threads no more than
    /// its share of the processor; and as many that run guests that compute for long, when nobody else wants to.
    /// Default: one for each core, at most 2.
    pub guest_threads: usize,
    /// Time that a guest may compute in one call; waiting for the store is not counted, nor is
    /// waiting for its turn beside other guests. Default: 1 s.
    pub call_deadline: Duration,
    /// The same for starting an instance, and for the one call of `describe` at upload. Interpreters
    /// start in milliseconds. Default: 2 s.
    pub start_deadline: Duration,
    /// What all memories and tables of one instance may hold together. Default: 64 MiB, which
    /// QuickJS, Rust, C and Go fit in; StarlingMonkey and Python ask for more.
    pub memory_bytes_max: usize,
    /// Instances that are alive at one time. Each reserves address space, but no memory, when the
    /// host starts. Default: 512, twice the plugins that can be deployed.
    pub instances_max: u32,
    /// Threads that one compilation may use; there is one compilation at a time. Default: all cores
    /// but one.
    pub compile_threads: usize,
    /// Where compiled components are kept over a restart; nobody else may write there. Default: none,
    /// and each start compiles again.
    pub cache_dir: Option<PathBuf>,
    /// What the compiled components may occupy on disk; the oldest go first. Default: 1 GiB.
    pub cache_bytes_max: u64,
}

impl Default for WasmConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            guest_threads: cores.min(2),
            call_deadline: Duration::from_secs(1),
            start_deadline: Duration::from_secs(2),
            memory_bytes_max: 64 * MIB,
            instances_max: 512,
            compile_threads: (cores - 1).max(1),
            cache_dir: None,
            cache_bytes_max: 1024 * MIB as u64,
        }
    }
}
