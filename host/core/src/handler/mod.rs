//! Handlers: plugins that react to events and emit events, each exactly once.

pub mod outbox;
