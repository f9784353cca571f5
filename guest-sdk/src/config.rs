//! The plugin's configuration, as its deployment set it. It is fixed for the life of a revision.

use crate::host;

/// The value of `key`, where it is set.
pub fn get(key: &str) -> Option<String> {
    host::config_get(key)
}

/// Every pair, in the host's order.
pub fn get_all() -> Vec<(String, String)> {
    host::config_get_all()
}
