//! How schedules are doing, as it is shown.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use wasmill_core::event::Origin;
use wasmill_core::schedule::Missed;

use super::malformed;
use crate::cli::exit::Failure;
use crate::cli::output::Show;
use crate::cli::table::{grouped, quoted, rfc3339, table};
use crate::grpc::convert;
use crate::http::schedule_out::{ScheduleView, WhenView, event_json};
use crate::proto::schedule::When;
use crate::proto::{self, AppendRequest, Cron};

/// A schedule, in the JSON that HTTP gives.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Status {
    view: ScheduleView,
    #[serde(skip)]
    event_type: String,
}

/// One that was just put.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Put(pub(super) Status);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schedules {
    pub(super) schedules: Vec<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_after: Option<String>,
}

impl TryFrom<proto::Schedule> for Status {
    type Error = Failure;

    fn try_from(schedule: proto::Schedule) -> Result<Self, Failure> {
        let missed = match schedule.missed() {
            proto::Missed::Unspecified | proto::Missed::Once => Missed::Once,
            proto::Missed::All => Missed::All,
            proto::Missed::Skip => Missed::Skip,
        };
        let event = schedule.event.ok_or_else(|| malformed("a schedule holds no event"))?;
        let event_type = event.r#type.clone();
        let append = AppendRequest { events: vec![event], ..AppendRequest::default() };
        let read = convert::append(append, &Origin::default()).map_err(|problem| malformed(&problem.message))?;
        let event = read.append.events.into_iter().next().unwrap_or_default();
        let when = match schedule.when.ok_or_else(|| malformed("a schedule says no time"))? {
            When::AtUs(us) => WhenView::At { at: rfc3339(us) },
            When::EveryMs(every_ms) => WhenView::Every { every_ms },
            When::Cron(Cron { expression, time_zone }) => WhenView::Cron { cron: expression, time_zone },
        };
        let view = ScheduleView {
            name: schedule.name,
            stream: schedule.stream,
            event: event_json(&event),
            when,
            missed,
            paused: schedule.paused,
            next: schedule.next_us.map(rfc3339),
            last: schedule.last_us.map(rfc3339),
            published: schedule.published,
            failed: schedule.failed,
            last_error: schedule.last_error,
            created_at: rfc3339(schedule.created_at_us),
        };
        Ok(Self { view, event_type })
    }
}

impl Status {
    fn when(&self) -> String {
        match &self.view.when {
            WhenView::At { at } => format!("at {at}"),
            WhenView::Every { every_ms } => {
                format!("every {}", humantime::format_duration(Duration::from_millis(*every_ms)))
            }
            WhenView::Cron { cron, time_zone } => format!("{cron} ({time_zone})"),
        }
    }

    fn next(&self) -> &str {
        match &self.view.next {
            _ if self.view.paused => "paused",
            Some(next) => next,
            None => "-",
        }
    }
}

impl Show for Status {
    fn to_text(&self) -> String {
        let ScheduleView { name, stream, event, missed, last, published, failed, last_error, created_at, .. } =
            &self.view;
        let missed = match missed {
            Missed::Once => "one event makes up for all",
            Missed::All => "each is made up for",
            Missed::Skip => "none is made up for",
        };
        let mut text = format!(
            "{name}\n  stream     {stream}\n  when       {}\n  missed     {missed}\n  next       {}\n  last       {}\n  \
             published  {}\n  failed     {}",
            self.when(),
            self.next(),
            last.as_deref().unwrap_or("-"),
            grouped(*published),
            grouped(*failed),
        );
        if let Some(error) = last_error {
            let _ = write!(text, "\n  error      {error}");
        }
        let _ = write!(text, "\n  since      {created_at}\n  event      {}", event.get());
        text
    }
}

impl Show for Put {
    fn to_text(&self) -> String {
        format!("scheduled {}, next at {}", self.0.view.name, self.0.next())
    }
}

impl Show for Schedules {
    fn to_text(&self) -> String {
        if self.schedules.is_empty() {
            return String::new();
        }
        let rows = self.schedules.iter().map(|status| {
            let ScheduleView { name, stream, published, failed, .. } = &status.view;
            [
                name.clone(),
                stream.clone(),
                status.event_type.clone(),
                status.when(),
                status.next().to_owned(),
                grouped(*published),
                grouped(*failed),
            ]
        });
        table(["schedule", "stream", "type", "when", "next", ">published", ">failed"], rows)
    }

    fn note(&self) -> Option<String> {
        match &self.next_after {
            Some(after) => Some(format!("there are more: --after {}", quoted(after))),
            None => self.schedules.is_empty().then(|| "no schedules".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_shown_as_http_shows_it() {
        let schedule = proto::Schedule {
            name: "weekly".into(),
            stream: "reports".into(),
            event: Some(proto::NewEvent {
                r#type: "report.due".into(),
                schema_version: 1,
                data: r#"{"n": 1.50}"#.into(),
                ..proto::NewEvent::default()
            }),
            when: Some(When::EveryMs(90_000)),
            next_us: Some(0),
            ..proto::Schedule::default()
        };
        let status = Status::try_from(schedule).unwrap();
        let json = serde_json::to_string(&status).unwrap();
        let expected = r#"{"name":"weekly","stream":"reports","event":{"type":"report.due","schemaVersion":1,"data":{"n": 1.50}},"everyMs":90000,"missed":"once","paused":false,"next":"1970-01-01T00:00:00Z","published":0,"failed":0,"createdAt":"1970-01-01T00:00:00Z"}"#;
        assert_eq!(json, expected);
        assert!(status.to_text().contains("every 1m 30s"), "{}", status.to_text());
        assert!(Schedules { schedules: vec![status], next_after: None }.to_text().starts_with("schedule  stream"));
    }
}
