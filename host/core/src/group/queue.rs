//! Queues: ephemeral streams, each with one group of its own.
//!
//! A queue's messages are events of the log like all others, so that they are committed, found by their ids
//! and read by the same code; they leave it when they are settled. The group is made with the first call that
//! needs it, and its configuration is what the stream's says.

use std::sync::Arc;

use super::config::{DeadLetters, Delivery, GroupConfig, GroupRecord};
use super::manage::Groups;
use super::{Command, GroupError, Membership, ask};
use crate::limits::group as limits;
use crate::name::{self, StreamName};
use crate::stream::Effective;
use crate::stream::config::{Delivery as StreamDelivery, StreamKind};

/// A group's own name; nobody else's begins like this.
const PREFIX: &str = "$queue/";

impl Groups {
    /// The name of the group behind a queue, which is made if it is not there.
    pub async fn queue(&self, stream: &StreamName) -> Result<String, GroupError> {
        let effective = self.0.context.configs.effective(stream);
        if effective.config().kind != Some(StreamKind::Ephemeral) {
            return Err(GroupError::NoQueue(stream.to_string()));
        }
        let (group, config) = (format!("{PREFIX}{stream}"), config(stream, &effective));
        match self.stored(&group).await? {
            Some((_, record)) if record.config == config => {}
            Some(_) => self.configure(&group, config).await?,
            None if self.list().await?.len() >= limits::GROUPS_MAX => return Err(GroupError::TooManyGroups),
            None => {
                let created_at_us = self.0.context.clock.now().0;
                let record = GroupRecord {
                    name: group.clone(),
                    config,
                    queue: true,
                    paused: false,
                    resets: 0,
                    start: 0,
                    created_at_us,
                };
                // Whoever was faster made the same.
                self.put(&group, None, &record).await?;
            }
        }
        Ok(group)
    }

    /// A consumer of a queue by its name, for callers that hold no connection: the one that there is, or a new
    /// one. It is forgotten when it has nothing in hand and was not heard of.
    pub async fn attach(&self, group: &str, consumer: &str) -> Result<Membership, GroupError> {
        super::manage::refuse_handlers(group)?;
        name::check(consumer)
            .map_err(|error| GroupError::Argument(format!("the name `{consumer}` is refused: {error}")))?;
        let commands = self.commands(group).await?;
        let session = ask(&commands, |reply| Command::Attach { name: consumer.into(), reply }).await?;
        Ok(Membership { session, commands })
    }
}

fn config(stream: &StreamName, effective: &Arc<Effective>) -> GroupConfig {
    let said = effective.config();
    let delivery = match said.delivery {
        Some(StreamDelivery::ExactlyOnce) => Delivery::ExactlyOnce,
        Some(StreamDelivery::AtMostOnce) => Delivery::AtMostOnce,
        Some(StreamDelivery::AtLeastOnce) | None => Delivery::AtLeastOnce,
    };
    let kept = said.dead_letter.enabled.unwrap_or(true);
    GroupConfig {
        streams: vec![stream.to_string()],
        delivery,
        max_deliveries: said.dead_letter.max_deliveries,
        dead_letters: if kept { DeadLetters::Keep } else { DeadLetters::Drop },
        dead_letter_stream: said.dead_letter.stream.clone(),
        parked_keys: said.dead_letter.parked_keys.unwrap_or_default(),
        ..GroupConfig::default()
    }
}
