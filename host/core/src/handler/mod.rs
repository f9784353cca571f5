//! Handlers: plugins that react to events and emit events, each exactly once.
//!
//! A handler is the one member of a group of its own, so that order by key, retries, dead letters and replays
//! are those of every group. What it emits, its documents and what the group notes are one commit unit
//! ([`crate::group::Membership::settle`]): all of it happens, or the events are handed to it again.

pub mod outbox;
pub(crate) mod output;
mod runner;

pub(crate) use runner::{Context, Runner, Subject};

use crate::group::config::{Choice, Delivery, GroupConfig};
use crate::limits::group as limits;
use crate::plugin::descriptor::Descriptor;
use crate::plugin::settings::Settings;

/// What the groups of handlers are called; nobody else's name begins like this.
const PREFIX: &str = "$handler/";

/// The group of a handler.
pub fn group_of(plugin: &str) -> String {
    format!("{PREFIX}{plugin}")
}

/// Whether a group's members are a handler, which sees internal streams too.
pub(crate) fn is_handlers(group: &str) -> bool {
    group.starts_with(PREFIX)
}

pub(crate) fn config(descriptor: &Descriptor, settings: &Settings) -> GroupConfig {
    let choice = |subscription: &crate::plugin::descriptor::Subscription| Choice {
        streams: subscription.streams.clone(),
        types: subscription.types.clone(),
    };
    GroupConfig {
        any_of: descriptor.subscribes.iter().map(choice).collect(),
        delivery: Delivery::ExactlyOnce,
        max_deliveries: Some(u64::from(settings.attempts())),
        retry: settings.retry,
        // It lives in this process: if it is gone, so is what would count its time.
        ack_timeout_ms: Some(limits::TIMEOUT_MS_MAX),
        session_timeout_ms: Some(limits::SESSION_MS_MAX),
        ..GroupConfig::default()
    }
}
