//! Numbers as databases have them: 64 bits with a sign.

/// Positions, offsets and counts stay below 2^53; what a caller asks for may not.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
