//! How wasmtime is set up. Much of this changes compiled code, and with it the key of the compiled
//! cache; what concerns determinism was fixed before the first release.

use wasmill_core::limits::plugin::MEMORY_BYTES_MAX;
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

use crate::config::WasmConfig;

const WASM_PAGE_BYTES: usize = 64 * 1024;

/// Core instances and tables of an average component: Rust has 3 to 5, componentize-py 30.
const PARTS_PER_INSTANCE: u32 = 8;
/// QuickJS components have two memories, most others one. Each slot reserves 4 GiB of addresses: the
/// default of 512 instances takes 4 of the 128 TiB that there are.
const MEMORIES_PER_INSTANCE: u32 = 2;

pub(crate) fn wasmtime_config(config: &WasmConfig) -> Config {
    let mut settings = Config::new();
    settings
        // A guest that loops is interrupted. Fuel would do it too, at twice the cost (measured).
        .epoch_interruption(true)
        // WASI 0.2 only: a call costs half without the machinery of component-model async.
        .concurrency_support(false)
        // The same bits on every machine: a rebuild gives the same bytes.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        // Instances share the pages that they have not written.
        .memory_init_cow(true)
        // Only debuggers would read these tables; registering them costs at every load.
        .native_unwind_info(false)
        // Names come from the name section. DWARF is the guest's own, and reading it takes as long
        // as the guest likes.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(config)));
    settings
}

fn memory_bytes_max(config: &WasmConfig) -> usize {
    let largest_setting = usize::try_from(MEMORY_BYTES_MAX).unwrap_or(usize::MAX);
    config.memory_bytes_max.max(largest_setting).next_multiple_of(WASM_PAGE_BYTES)
}

/// Slots are address space: RSS grows by what live instances touch.
fn pool(config: &WasmConfig) -> PoolingAllocationConfig {
    let instances = config.instances_max;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_memories(instances.saturating_mul(MEMORIES_PER_INSTANCE))
        .total_core_instances(instances.saturating_mul(PARTS_PER_INSTANCE))
        .total_tables(instances.saturating_mul(PARTS_PER_INSTANCE))
        // The sum is what the limiter of each instance watches. Here it only has to fit, whatever a plugin's
        // settings give it: a slot reserves the same addresses all the same.
        .max_memory_size(memory_bytes_max(config))
        .table_elements(50_000)
        .max_component_instance_size(4 << 20)
        .max_core_instance_size(4 << 20)
        .max_core_instances_per_component(40)
        .max_memories_per_component(8)
        .max_tables_per_component(20)
        .max_memories_per_module(4)
        .max_tables_per_module(10)
        // A slot that was used is cheaper to use again, but keeps what it has mapped.
        .max_unused_warm_slots(16);
    pool
}
