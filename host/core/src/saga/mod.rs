//! Sagas: long-running processes of declared steps, which are undone backwards when one fails.

pub mod call;
pub mod definition;
pub mod http;
