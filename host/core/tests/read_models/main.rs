//! Read models over the memory store, with a guest that does what its events say: queries and indexes,
//! changes that are followed, generations that are compared.

#![allow(clippy::unwrap_used, reason = "these are tests, though not in a `#[test]`")]

mod comparing;
mod following;
mod guest;
mod model;
mod queries;
