//! How queues are doing, as it is shown.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;

use crate::cli::exit::Failure;
use crate::cli::group::status::{Member, Status, indented};
use crate::cli::output::Show;
use crate::cli::table::{grouped, table};
use crate::proto;

/// The name of a queue's group is this and the queue's.
pub(super) const PREFIX: &str = "$queue/";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Queue {
    name: String,
    group: String,
    config: Value,
    paused: bool,
    created_at: String,
    unsettled: u64,
    in_flight: u64,
    parked_keys: u64,
    consumers: Vec<Member>,
}

#[derive(Serialize)]
pub(super) struct Queues {
    pub(super) queues: Vec<Queue>,
}

impl TryFrom<proto::Group> for Queue {
    type Error = Failure;

    fn try_from(group: proto::Group) -> Result<Self, Failure> {
        let status = Status::try_from(group)?;
        Ok(Self {
            name: status.name.strip_prefix(PREFIX).unwrap_or(&status.name).to_owned(),
            group: status.name,
            config: status.config,
            paused: status.paused,
            created_at: status.created_at,
            unsettled: status.unsettled,
            in_flight: status.in_flight,
            parked_keys: status.parked_keys,
            consumers: status.members,
        })
    }
}

impl Queue {
    fn state(&self) -> &'static str {
        if self.paused { "paused" } else { "running" }
    }
}

impl Show for Queue {
    fn to_text(&self) -> String {
        let Queue { name, group, created_at, .. } = self;
        let mut text = format!(
            "{name}\n  state        {}\n  group        {group}  (its dead letters are found by it)\n  unsettled    {} read, of which {} in consumers' hands\n  \
             parked keys  {}\n  created      {created_at}",
            self.state(),
            grouped(self.unsettled),
            grouped(self.in_flight),
            grouped(self.parked_keys),
        );
        if self.consumers.is_empty() {
            text.push_str("\n  consumers    none");
        }
        for Member { name, joined_at, in_flight, .. } in &self.consumers {
            let _ = write!(text, "\n  consumer     {name}  ({} in hand, since {joined_at})", grouped(*in_flight));
        }
        let _ = write!(text, "\n  configuration\n{}", indented(&format!("{:#}", self.config)));
        text
    }
}

impl Show for Queues {
    fn to_text(&self) -> String {
        if self.queues.is_empty() {
            return String::new();
        }
        let rows = self.queues.iter().map(|queue| {
            [
                queue.name.clone(),
                queue.state().to_owned(),
                grouped(queue.consumers.len() as u64),
                grouped(queue.unsettled),
                grouped(queue.in_flight),
                grouped(queue.parked_keys),
            ]
        });
        table(["queue", "state", ">consumers", ">unsettled", ">in flight", ">parked keys"], rows)
    }

    fn note(&self) -> Option<String> {
        self.queues.is_empty().then(|| "no queues".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_has_its_streams_name() {
        let group = proto::Group {
            name: "$queue/mail".into(),
            config_json: r#"{"mode":"queue"}"#.into(),
            members: vec![proto::GroupMember { name: "w-1".into(), in_flight: 2, ..proto::GroupMember::default() }],
            ..proto::Group::default()
        };
        let queue = Queue::try_from(group).unwrap();
        let text = queue.to_text();
        for part in ["mail\n", "running", "w-1  (2 in hand,", "$queue/mail"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(Queues { queues: vec![queue] }.to_text().starts_with("queue  state"));
    }
}
