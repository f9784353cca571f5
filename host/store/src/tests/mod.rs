//! What concerns every database: all of them beside the memory store.

mod differential;
mod groups;
pub(crate) mod same;

/// Whether the whole campaign is wanted: `tests/run --long`.
pub(crate) fn is_long() -> bool {
    std::env::var_os("WASMILL_TEST_LONG").is_some()
}
