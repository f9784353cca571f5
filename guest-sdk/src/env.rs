//! Real time and random numbers, for handlers and sagas alone: a projection or an upcaster that uses them imports
//! what the host does not give it, and is refused when it is uploaded.

use crate::host;

/// The host's time, in microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    host::now_us()
}

/// `len` random bytes that nobody knows beforehand. The host ends a call that asks for more than a mebibyte
/// at once.
pub fn random(len: u32) -> Vec<u8> {
    host::random(len)
}
