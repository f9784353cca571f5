//! What sagas send: the host's HTTP client, and the secrets that it puts into requests.
//!
//! Which requests may go where is decided before, in `wasmill_core::saga::http`; here a name becomes an address, and
//! that very address is looked at and connected to. There are no proxies, no cookies, no compression and no redirects.

mod client;
mod connect;
mod secrets;
#[cfg(test)]
mod tests;

pub(crate) use client::Client;
pub(crate) use secrets::{SecretsError, StoredSecrets};
