//! How replays are doing, as it is shown.

use std::fmt::Write as _;

use serde::Serialize;

use super::malformed;
use crate::cli::exit::Failure;
use crate::cli::output::Show;
use crate::cli::table::{grouped, rfc3339, table};
use crate::http::replay_out::{ReplayView, SourceView, rate};
use crate::proto::replay_plan::Target;
use crate::proto::{self, FilterTerm, ReplayState};

/// A replay, in the JSON that HTTP gives.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Status(pub(super) ReplayView);

#[derive(Serialize)]
pub(super) struct Replays {
    pub(super) replays: Vec<Status>,
}

impl TryFrom<proto::Replay> for Status {
    type Error = Failure;

    fn try_from(replay: proto::Replay) -> Result<Self, Failure> {
        let state = match replay.state() {
            ReplayState::Unspecified => return Err(malformed("a replay has no state")),
            ReplayState::Running => "running",
            ReplayState::Paused => "paused",
            ReplayState::Cancelled => "cancelled",
            ReplayState::Done => "done",
            ReplayState::Failed => "failed",
        };
        let plan = replay.plan.ok_or_else(|| malformed("a replay has no plan"))?;
        let (group, projection, client) = match plan.target {
            Some(Target::Group(group)) => (Some(group), None, None),
            Some(Target::Projection(projection)) => (None, Some(projection), None),
            Some(Target::Client(_)) => (None, None, Some(true)),
            None => return Err(malformed("a replay is for nobody")),
        };
        let FilterTerm { streams, types, keys, tags, correlation_ids } = plan.source.unwrap_or_default();
        Ok(Self(ReplayView {
            id: replay.id,
            group,
            projection,
            client,
            source: SourceView { streams, types, keys, tags, correlation_ids },
            from: replay.from,
            until: replay.until,
            events_per_second: plan.events_per_second,
            speed: plan.speed,
            state,
            next: replay.next,
            done: replay.done,
            total: replay.total,
            total_is_estimate: replay.total_is_estimate,
            rate: rate(replay.rate),
            ends_at: replay.ends_at_us.map(rfc3339),
            created_at: rfc3339(replay.created_at_us),
            ended_at: replay.ended_at_us.map(rfc3339),
            error: replay.error,
        }))
    }
}

impl Status {
    pub(super) fn id(&self) -> &str {
        &self.0.id
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.0.state, "done" | "cancelled" | "failed")
    }

    fn target(&self) -> String {
        match (&self.0.group, &self.0.projection) {
            (Some(group), _) => format!("group {group}"),
            (_, Some(projection)) => format!("projection {projection}"),
            (None, None) => "a client".into(),
        }
    }

    fn of(&self) -> String {
        let about = if self.0.total_is_estimate { "about " } else { "" };
        format!("{} of {about}{}", grouped(self.0.done), grouped(self.0.total))
    }

    fn pace(&self) -> String {
        let rate = self.0.events_per_second.map(|rate| format!("{}/s at most", grouped(rate)));
        let speed = self.0.speed.map(|speed| format!("{speed} times the original speed"));
        let said: Vec<String> = rate.into_iter().chain(speed).collect();
        if said.is_empty() { "as fast as it goes".into() } else { said.join(", ") }
    }
}

impl Show for Status {
    fn to_text(&self) -> String {
        let ReplayView { id, from, until, state, rate, ends_at, ended_at, created_at, error, .. } = &self.0;
        let mut text = format!(
            "{id}\n  for        {}\n  positions  {} to {}\n  pace       {}\n  state      {state}\n  done       {}\n  \
             rate       {}/s",
            self.target(),
            grouped(*from),
            grouped(*until),
            self.pace(),
            self.of(),
            grouped(*rate as u64),
        );
        for (name, value) in [("ends", ends_at), ("ended", ended_at), ("error", error)] {
            if let Some(value) = value {
                let _ = write!(text, "\n  {name:<9}  {value}");
            }
        }
        let _ = write!(text, "\n  since      {created_at}");
        text
    }
}

impl Show for Replays {
    fn to_text(&self) -> String {
        if self.replays.is_empty() {
            return String::new();
        }
        let rows = self.replays.iter().map(|status| {
            let ReplayView { id, state, rate, ends_at, ended_at, .. } = &status.0;
            let end = ends_at.as_ref().or(ended_at.as_ref()).cloned();
            [
                id.clone(),
                status.target(),
                (*state).to_owned(),
                status.of(),
                format!("{}/s", grouped(*rate as u64)),
                end.unwrap_or_else(|| "-".into()),
            ]
        });
        table(["replay", "for", "state", ">done", ">rate", "ends"], rows)
    }

    fn note(&self) -> Option<String> {
        self.replays.is_empty().then(|| "no replays".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replay_is_shown_as_http_shows_it() {
        let plan = proto::ReplayPlan {
            target: Some(Target::Group("billing".into())),
            events_per_second: Some(10_000),
            ..proto::ReplayPlan::default()
        };
        let mut replay = proto::Replay {
            id: "x".into(),
            plan: Some(plan),
            until: 2_000,
            done: 500,
            total: 1_999,
            total_is_estimate: true,
            rate: 123.456,
            ..proto::Replay::default()
        };
        replay.set_state(ReplayState::Running);
        let status = Status::try_from(replay).unwrap();
        let json = serde_json::to_string(&status).unwrap();
        let expected = r#"{"id":"x","group":"billing","source":{},"from":0,"until":2000,"eventsPerSecond":10000,"state":"running","next":0,"done":500,"total":1999,"totalIsEstimate":true,"rate":123.5,"createdAt":"1970-01-01T00:00:00Z"}"#;
        assert_eq!(json, expected);
        assert!(status.to_text().contains("500 of about 1,999"), "{}", status.to_text());
        assert!(!status.is_over());
    }
}
