//! How groups are doing, as it is shown.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::cli::exit::Failure;
use crate::cli::output::Show;
use crate::cli::table::{count, duration, grouped, rfc3339, table};
use crate::proto;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Status {
    pub(in crate::cli) name: String,
    pub(in crate::cli) config: Value,
    pub(in crate::cli) paused: bool,
    pub(in crate::cli) start_position: u64,
    pub(in crate::cli) created_at: String,
    pub(in crate::cli) position: u64,
    pub(in crate::cli) lag_events: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) lag_us: Option<i64>,
    pub(in crate::cli) unsettled: u64,
    pub(in crate::cli) in_flight: u64,
    pub(in crate::cli) parked_keys: u64,
    pub(in crate::cli) members: Vec<Member>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct Member {
    pub(in crate::cli) name: String,
    pub(in crate::cli) joined_at: String,
    pub(in crate::cli) in_flight: u64,
    pub(in crate::cli) stands_by: bool,
}

#[derive(Serialize)]
pub(super) struct Groups {
    pub(super) groups: Vec<Status>,
}

impl TryFrom<proto::Group> for Status {
    type Error = Failure;

    fn try_from(group: proto::Group) -> Result<Self, Failure> {
        let config = serde_json::from_str::<Value>(&group.config_json).map_err(|error| {
            let message = format!("the host's answer holds a configuration that is not JSON: {error}");
            Failure::failed("malformed_answer", message)
        })?;
        let config = without_nulls(config);
        let member = |member: proto::GroupMember| Member {
            name: member.name,
            joined_at: rfc3339(member.joined_at_us),
            in_flight: member.in_flight,
            stands_by: member.stands_by,
        };
        Ok(Self {
            name: group.name,
            config,
            paused: group.paused,
            start_position: group.start_position,
            created_at: rfc3339(group.created_at_us),
            position: group.position,
            lag_events: group.lag_events,
            lag_us: group.lag_us,
            unsettled: group.unsettled,
            in_flight: group.in_flight,
            parked_keys: group.parked_keys,
            members: group.members.into_iter().map(member).collect(),
        })
    }
}

/// What a configuration leaves open is not shown.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, field)| !field.is_null())
            .map(|(name, field)| (name, without_nulls(field)))
            .collect(),
        other => other,
    }
}

impl Status {
    fn state(&self) -> &'static str {
        if self.paused { "paused" } else { "running" }
    }

    pub(in crate::cli) fn age(&self) -> Option<String> {
        self.lag_us.and_then(|us| u64::try_from(us).ok()).map(|us| duration(Duration::from_micros(us)))
    }
}

impl Show for Status {
    fn to_text(&self) -> String {
        let Status { name, position, created_at, start_position, .. } = self;
        let age = self.age().map_or_else(String::new, |age| format!(", the oldest unsettled since {age}"));
        let mut text = format!(
            "{name}\n  state        {}\n  position     {position}  (began at {start_position})\n  behind       {}{age}\n  \
             unsettled    {}, of which {} in members' hands\n  parked keys  {}\n  created      {created_at}",
            self.state(),
            count(self.lag_events, "position"),
            grouped(self.unsettled),
            grouped(self.in_flight),
            grouped(self.parked_keys),
        );
        if self.members.is_empty() {
            text.push_str("\n  members      none");
        }
        for Member { name, joined_at, in_flight, stands_by } in &self.members {
            let standing = if *stands_by { ", stands by" } else { "" };
            let in_flight = grouped(*in_flight);
            let _ = write!(text, "\n  member       {name}  ({in_flight} in hand{standing}, joined {joined_at})");
        }
        let _ = write!(text, "\n  configuration\n{}", indented(&format!("{:#}", self.config)));
        text
    }
}

pub(in crate::cli) fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

impl Show for Groups {
    fn to_text(&self) -> String {
        if self.groups.is_empty() {
            return String::new();
        }
        let rows = self.groups.iter().map(|group| {
            [
                group.name.clone(),
                group.state().to_owned(),
                grouped(group.members.len() as u64),
                group.position.to_string(),
                grouped(group.lag_events),
                group.age().unwrap_or_default(),
                grouped(group.in_flight),
                grouped(group.parked_keys),
            ]
        });
        let columns =
            ["group", "state", ">members", ">position", ">behind", ">oldest for", ">in flight", ">parked keys"];
        table(columns, rows)
    }

    fn note(&self) -> Option<String> {
        self.groups.is_empty().then(|| "no groups".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_shown_with_its_members() {
        let group = proto::Group {
            name: "billing".into(),
            config_json: r#"{"mode":"queue"}"#.into(),
            position: 7,
            lag_events: 3,
            lag_us: Some(2_500_000),
            members: vec![proto::GroupMember { name: "w-1".into(), in_flight: 2, ..proto::GroupMember::default() }],
            ..proto::Group::default()
        };
        let status = Status::try_from(group).unwrap();
        let text = status.to_text();
        for part in
            ["billing\n", "state        running", "3 positions", "2.50 s", "w-1  (2 in hand,", "\"mode\": \"queue\""]
        {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(Groups { groups: vec![status] }.to_text().starts_with("group    state"));
    }
}
