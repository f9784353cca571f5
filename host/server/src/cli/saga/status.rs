//! How a saga is, as it is shown.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Remote;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::http::saga_out::{AwaitedView, CauseView, SagaView, StepView, SummaryView};
use crate::proto::GetSagaRequest;

#[derive(Args, Clone, Debug)]
pub(crate) struct StatusArgs {
    /// The saga's id
    #[arg(value_name = "ID", required_unless_present = "correlation_id", conflicts_with = "correlation_id")]
    id: Option<String>,
    /// Its correlation id, instead
    #[arg(long, value_name = "ID", requires = "saga_type")]
    correlation_id: Option<String>,
    /// Its type, beside the correlation id
    #[arg(long = "type", value_name = "TYPE", requires = "correlation_id")]
    saga_type: Option<String>,
    /// Wait so long until it has ended or needs a person, such as 30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(args: StatusArgs, output: Output) -> Result<(), Failure> {
    let StatusArgs { id, correlation_id, saga_type, wait, remote } = args;
    let mut client = remote.connect().await?.sagas();
    let until = Instant::now() + wait.unwrap_or_default();
    let request = GetSagaRequest {
        id: id.unwrap_or_default(),
        r#type: saga_type.unwrap_or_default(),
        correlation_id: correlation_id.unwrap_or_default(),
        wait_ms: 0,
    };
    let status = super::view(client.get_saga(request).await?.into_inner().saga)?;
    let status = super::wait(&mut client, status, until).await?;
    output.show(&status)?;
    if wait.is_some() { super::judged(&status, output) } else { Ok(()) }
}

/// A saga, in the JSON that HTTP gives.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Status(pub(super) SagaView);

impl Status {
    pub(super) fn id(&self) -> &str {
        &self.0.summary.saga_id
    }

    /// It has ended, or goes no further without a person.
    pub(super) fn rests_for_good(&self) -> bool {
        matches!(self.0.summary.activity, "ended" | "paused")
    }

    /// Why it was not, or will not be, completed by itself.
    pub(super) fn failure(&self) -> Option<Failure> {
        let summary = &self.0.summary;
        let cause = summary.cause.as_ref().map(|cause| format!(": {}", cause.message)).unwrap_or_default();
        let advice = format!("wasmill saga timeline {}", self.id());
        match (summary.activity, summary.state) {
            ("ended", "completed") => None,
            ("ended", state) => {
                let message = format!("the saga is {state}{cause}");
                Some(Failure::failed(&format!("saga_{state}"), message).with_help(advice))
            }
            ("paused", _) => {
                let why = summary.paused.as_ref().map_or(cause, |why| format!(": {why}"));
                let message = format!("the saga waits for a person at step {}{why}", summary.current_step);
                Some(Failure::failed("saga_paused", message).with_help(advice))
            }
            _ => None,
        }
    }
}

/// A value on one line; a long one is cut.
pub(super) fn short(value: &RawValue) -> String {
    cut(value.get().trim())
}

pub(super) fn cut(text: &str) -> String {
    const CHARS_MAX: usize = 120;
    match text.char_indices().nth(CHARS_MAX) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

pub(super) fn awaited(AwaitedView { event_type, key }: &AwaitedView) -> String {
    let of = event_type.as_ref().map_or_else(String::new, |event_type| format!(" {event_type}"));
    format!("for an event{of} with key {key}")
}

pub(super) fn because(CauseView { kind, code, message }: &CauseView) -> String {
    format!("{kind} {code}: {}", cut(message))
}

impl Show for Status {
    fn to_text(&self) -> String {
        let SagaView { summary, steps, data, data_base64, input, input_base64, .. } = &self.0;
        let SummaryView { saga_id, saga_type, state, activity, progress, current_step, attempt, .. } = summary;
        let (undoing, attempt) = (self.0.direction == "compensate", attempt.max(&1));
        let at = match (*activity, undoing) {
            ("ended", _) => String::new(),
            (_, true) => format!(", undoing {current_step} (attempt {attempt})"),
            (_, false) => format!(", at {current_step} (attempt {attempt})"),
        };
        let mut text =
            format!("{saga_type} {saga_id}\n  state        {state}, {activity}\n  progress     {progress}{at}");
        let mut line = |name: &str, value: &str| _ = write!(text, "\n  {name:<11}  {value}");
        line("correlation", &summary.correlation_id);
        line("revision", &summary.revision.to_string());
        let waits = summary.awaits.as_ref().map(awaited);
        let due = summary.due_at.as_ref().map(|due| format!("until {due}"));
        if waits.is_some() || due.is_some() {
            line("waits", &waits.into_iter().chain(due).collect::<Vec<_>>().join(", "));
        }
        if let Some(why) = &summary.paused {
            line("paused", why);
        }
        if let Some(cause) = &summary.cause {
            line("cause", &because(cause));
        }
        if let Some(cause) = &self.0.turns_round {
            line("turns round", &format!("when its attempt has ended: {}", because(cause)));
        }
        if self.0.only_forward && *activity != "ended" {
            line("pivot", "behind it: it is not compensated any more");
        }
        if self.0.killed {
            line("killed", "nothing was compensated");
        }
        line("since", &summary.started_at);
        line("updated", &summary.updated_at);
        let width = steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
        for (n, StepView { name, state, output, output_base64 }) in steps.iter().enumerate() {
            let output = output.as_deref().map(short).or_else(|| output_base64.as_deref().map(cut));
            let shown = format!("{name:<width$}  {state:<11}  {}", output.unwrap_or_default());
            line(if n == 0 { "steps" } else { "" }, shown.trim_end());
        }
        let values = data.iter().map(|(key, value)| format!("{key} = {}", short(value)));
        let coded = data_base64.iter().map(|(key, value)| format!("{key} = base64 {}", cut(value)));
        for (n, value) in values.chain(coded).enumerate() {
            line(if n == 0 { "data" } else { "" }, &value);
        }
        let input = input.as_deref().map(short).or_else(|| input_base64.as_deref().map(cut));
        line("input", input.as_deref().unwrap_or("-"));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{self, SagaActivity, SagaState, SagaStepState};

    fn status(state: SagaState, activity: SagaActivity) -> Status {
        let mut summary = proto::SagaSummary {
            id: "x".into(),
            r#type: "order".into(),
            correlation_id: "o-7".into(),
            current_step: "ship".into(),
            progress: 1,
            total_steps: 2,
            awaits: Some(proto::SagaAwaited { r#type: "approved".into(), key: "o-7".into() }),
            ..proto::SagaSummary::default()
        };
        summary.set_state(state);
        summary.set_activity(activity);
        let step = |name: &str, state: SagaStepState| {
            let mut step = proto::SagaStep { name: name.into(), output: Some("{}".into()), ..Default::default() };
            step.set_state(state);
            step
        };
        let steps = vec![step("pay", SagaStepState::Completed), step("ship", SagaStepState::Current)];
        let data = [("k".to_owned(), "[1]".into())].into();
        super::super::view(Some(proto::Saga { summary: Some(summary), steps, data, ..Default::default() })).unwrap()
    }

    #[test]
    fn a_saga_is_shown_with_its_steps_and_what_it_waits_for() {
        let text = status(SagaState::Running, SagaActivity::Waiting).to_text();
        for line in [
            "  state        running, waiting",
            "  progress     1/2, at ship (attempt 1)",
            "  waits        for an event approved with key o-7",
            "  steps        pay   completed    {}",
            "               ship  current      {}",
            "  data         k = [1]",
            "  input        -",
        ] {
            assert!(text.lines().any(|is| is == line), "{line}\n{text}");
        }
    }

    #[test]
    fn whoever_has_waited_is_told_what_was_not_completed() {
        let code = |state, activity| status(state, activity).failure().map(|failure| failure.code);
        assert_eq!(code(SagaState::Completed, SagaActivity::Ended), None);
        assert_eq!(code(SagaState::Running, SagaActivity::Waiting), None);
        assert_eq!(code(SagaState::Compensated, SagaActivity::Ended).as_deref(), Some("saga_compensated"));
        assert_eq!(code(SagaState::Failed, SagaActivity::Paused).as_deref(), Some("saga_paused"));
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(cut(&"ä".repeat(120)), "ä".repeat(120));
        assert_eq!(cut(&"ä".repeat(121)), "ä".repeat(120) + "...");
    }
}
