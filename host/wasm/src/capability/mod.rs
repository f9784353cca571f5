//! What the host gives to guests: one file for each interface of the contract. Each is the generated
//! `Host` trait on the [`Sandbox`](crate::sandbox::Sandbox), so it can be tested without any Wasm.

mod config;
mod env;
mod event_details;
mod http;
mod log;
mod outbox;
mod saga_data;
mod state;
mod state_json;

use crate::sandbox::Sandbox;
use crate::worlds::v0_1::bindings::wasmill::plugin::{events, outcomes, types};

// These carry types and nothing that could be called.
impl types::Host for Sandbox {}
impl events::Host for Sandbox {}
impl outcomes::Host for Sandbox {}
