//! Sagas: long-running processes of declared steps, which are undone backwards when one fails.

pub mod call;
pub mod definition;
pub mod fact;
pub mod http;
pub mod model;
mod next;

pub use next::Refused;
