//! What concerns every database: all of them beside the memory store.

mod differential;
pub(crate) mod random;
pub(crate) mod same;
