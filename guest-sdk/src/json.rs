use serde::Deserialize;
use serde::de::Error as _;
use serde_json::Error;

/// Parses JSON. As `serde_json::from_slice`, which checks string by string that the bytes are UTF-8;
/// checking them all at once is faster.
///
/// # Errors
/// When `bytes` are not JSON, or not of the shape of a `T`.
pub fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_str(str::from_utf8(bytes).map_err(Error::custom)?)
}
