//! `wasmill saga timeline`: what has happened, for people.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::Remote;
use super::status::{awaited, because, cut, short};
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::table::{duration, table};
use crate::http::saga_out::{CallView, EventView, FactView};
use crate::proto::GetSagaTimelineRequest;

/// What a host hands out at once.
const PAGE: u32 = 1_000;

#[derive(Args, Clone, Debug)]
pub(crate) struct TimelineArgs {
    /// The saga's id
    #[arg(value_name = "ID")]
    id: String,
    /// The first commit to show
    #[arg(long, default_value_t = 0, value_name = "NUMBER")]
    from: u32,
    /// Most commits; 0 stands for all there are
    #[arg(long, default_value_t = 0, value_name = "COMMITS")]
    limit: u32,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Timeline {
    saga_id: String,
    facts: Vec<FactView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
}

pub(super) async fn run(args: TimelineArgs, output: Output) -> Result<(), Failure> {
    let mut client = args.remote.connect().await?.sagas();
    let mut timeline = Timeline { saga_id: args.id.clone(), facts: Vec::new(), next: Some(args.from) };
    let end = if args.limit == 0 { u32::MAX } else { args.from.saturating_add(args.limit) };
    while let Some(from) = timeline.next.filter(|from| *from < end) {
        let request = GetSagaTimelineRequest { id: args.id.clone(), from, limit: (end - from).min(PAGE) };
        let page = client.get_saga_timeline(request).await?.into_inner();
        timeline.facts.extend(page.facts.into_iter().map(FactView::from));
        timeline.next = page.next;
    }
    output.show(&timeline)
}

impl Show for Timeline {
    fn to_text(&self) -> String {
        let mut rows = Vec::new();
        let mut state = self.facts.first().map_or("", |fact| fact.state);
        for fact in &self.facts {
            let mut what = what(fact);
            if fact.state != state {
                what = format!("{what} -> {}", fact.state);
                state = fact.state;
            }
            let step = match (&fact.step, fact.direction) {
                (Some(step), Some("compensate")) => format!("undo {step}"),
                (step, _) => step.clone().unwrap_or_default(),
            };
            let attempt = fact.attempt.filter(|attempt| *attempt > 0).map(|attempt| attempt.to_string());
            rows.push([fact.time.clone(), step, attempt.unwrap_or_default(), what]);
            let detail = |line: String| [String::new(), String::new(), String::new(), format!("  {line}")];
            rows.extend(details(fact).into_iter().map(detail));
        }
        if rows.is_empty() { String::new() } else { table(["time", "step", ">attempt", "what"], rows) }
    }

    fn note(&self) -> Option<String> {
        match self.next {
            Some(next) => Some(format!("there is more: --from {next}")),
            None => self.facts.is_empty().then(|| "nothing".into()),
        }
    }
}

fn what(fact: &FactView) -> String {
    let took = || fact.took_us.map(|us| duration(Duration::from_micros(us))).unwrap_or_default();
    let revision = fact.revision.map(|revision| format!(", revision {revision}")).unwrap_or_default();
    match fact.fact {
        "started" => format!("started by {}{revision}", fact.event.as_ref().map_or("a call".into(), event)),
        "attemptStarted" => "begins".into(),
        "completed" => {
            let output = fact.output.as_deref().map(short).or_else(|| fact.output_base64.as_deref().map(cut));
            format!("done in {}{}", took(), output.map(|output| format!(": {output}")).unwrap_or_default())
        }
        "suspended" => {
            let until = fact.until.as_ref().map(|until| format!("until {until}"));
            let waits: Vec<_> = fact.awaits.as_ref().map(awaited).into_iter().chain(until).collect();
            format!("waits {}", waits.join(", "))
        }
        "failed" => {
            let why = fact.cause.as_ref().map(because).unwrap_or_default();
            let again = fact.next_attempt_at.as_ref().map(|at| format!("; again at {at}")).unwrap_or_default();
            format!("failed in {}, {why}{again}", took())
        }
        "interrupted" => "the host ended in the middle: what became of it is not known".into(),
        "woken" => format!("woken by {}", fact.event.as_ref().map_or("its timer".into(), event)),
        "stepTimedOut" => "the time of the step is up".into(),
        "sagaTimedOut" => "the time of the saga is up".into(),
        "late" => cut(fact.outcome.as_deref().unwrap_or_default()),
        order => {
            let to = fact.to_step.as_ref().map(|step| format!(", from {step} on")).unwrap_or_default();
            let by = fact.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
            let note = fact.note.as_ref().map(|note| format!(": {}", cut(note))).unwrap_or_default();
            let order = if order == "markedDone" { "marked done" } else { order };
            format!("{order}{to}{revision}{by}{note}")
        }
    }
}

fn event(EventView { id, event_type, position, .. }: &EventView) -> String {
    let event_type = event_type.as_deref().unwrap_or("event");
    let at = position.map(|position| format!(" at position {position}")).unwrap_or_default();
    format!("{event_type} {id}{at}")
}

/// Lines below a fact: what its attempt has sent, changed, emitted and logged.
fn details(fact: &FactView) -> Vec<String> {
    let call = |CallView { method, url, status, error, took_us }: &CallView| {
        let answer = match (status, error) {
            (Some(status), None) => status.to_string(),
            (Some(status), Some(error)) => format!("{status}, {error}"),
            (None, error) => error.clone().unwrap_or_else(|| "no answer".into()),
        };
        format!("{method} {} {} in {}", cut(url), cut(&answer), duration(Duration::from_micros(*took_us)))
    };
    let put = fact.data.iter().map(|(key, value)| format!("data {key} = {}", short(value)));
    let coded = fact.data_base64.iter().map(|(key, value)| format!("data {key} = base64 {}", cut(value)));
    let removed = fact.data_removed.iter().map(|key| format!("data {key} removed"));
    let emitted = fact.emitted.iter().map(|event| {
        let stream = event.stream.as_deref().unwrap_or_default();
        format!("appended {} to {stream}", event.event_type.as_deref().unwrap_or("an event"))
    });
    let log = fact.log.iter().map(|line| format!("log {}", cut(line)));
    fact.calls.iter().map(call).chain(put).chain(coded).chain(removed).chain(emitted).chain(log).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::saga_out::CauseView;

    fn fact(fact: &'static str, step: &str, state: &'static str) -> FactView {
        let (step, direction, attempt) = (Some(step.to_owned()), Some("execute"), Some(1));
        FactView { time: "T".into(), fact, step, direction, attempt, state, ..FactView::default() }
    }

    #[test]
    fn a_timeline_reads_from_top_to_bottom() {
        let cause = CauseView { kind: "reject".into(), code: "card.declined".into(), message: "no money".into() };
        let call = CallView {
            method: "POST".into(),
            url: "http://pay/v1".into(),
            status: Some(402),
            error: None,
            took_us: 2_000,
        };
        let failed = FactView {
            cause: Some(cause),
            calls: vec![call],
            took_us: Some(3_000),
            ..fact("failed", "pay", "compensating")
        };
        let undone = FactView {
            direction: Some("compensate"),
            took_us: Some(10),
            log: vec!["info: released".into()],
            ..fact("completed", "reserve", "compensated")
        };
        let facts = vec![fact("attemptStarted", "pay", "running"), failed, undone];
        let text = Timeline { saga_id: "x".into(), facts, next: None }.to_text();
        let expected = "time  step          attempt  what\n\
                        T     pay                 1  begins\n\
                        T     pay                 1  failed in 3 ms, reject card.declined: no money -> compensating\n\
                        \x20                              POST http://pay/v1 402 in 2 ms\n\
                        T     undo reserve        1  done in 10 us -> compensated\n\
                        \x20                              log info: released";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_order_says_who_gave_it_and_why() {
        let order = FactView {
            to_step: Some("reserve".into()),
            revision: Some(2),
            by: Some("token".into()),
            note: Some("mended".into()),
            ..fact("retried", "pay", "running")
        };
        assert_eq!(what(&order), "retried, from reserve on, revision 2 by token: mended");
    }
}
