//! `wasmill saga list`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::Remote;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::cli::table::table;
use crate::http::saga_out::SummaryView;
use crate::proto::{ListSagasRequest, SagaActivity, SagaState};

/// What a host hands out at once.
const PAGE: u32 = 1_000;

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    /// Only of this type
    #[arg(long = "type", value_name = "TYPE")]
    saga_type: Option<String>,
    /// Only in this state
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// Only with this activity; `paused` are those that need a person
    #[arg(long, value_name = "ACTIVITY")]
    activity: Option<Activity>,
    /// Only with this correlation id
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Only at this step
    #[arg(long, value_name = "STEP")]
    step: Option<String>,
    /// Only started so long ago, such as 1h
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Those behind this one
    #[arg(long, value_name = "ID")]
    after: Option<String>,
    /// Most sagas; 0 stands for all there are
    #[arg(long, default_value_t = 100, value_name = "SAGAS")]
    limit: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    NotStarted,
    Running,
    Completed,
    Compensating,
    Compensated,
    Failed,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Activity {
    Ready,
    Calling,
    Retrying,
    Waiting,
    Paused,
    Ended,
}

impl From<State> for SagaState {
    fn from(state: State) -> Self {
        match state {
            State::NotStarted => SagaState::NotStarted,
            State::Running => SagaState::Running,
            State::Completed => SagaState::Completed,
            State::Compensating => SagaState::Compensating,
            State::Compensated => SagaState::Compensated,
            State::Failed => SagaState::Failed,
        }
    }
}

impl From<Activity> for SagaActivity {
    fn from(activity: Activity) -> Self {
        match activity {
            Activity::Ready => SagaActivity::Ready,
            Activity::Calling => SagaActivity::Calling,
            Activity::Retrying => SagaActivity::Retrying,
            Activity::Waiting => SagaActivity::Waiting,
            Activity::Paused => SagaActivity::Paused,
            Activity::Ended => SagaActivity::Ended,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sagas {
    sagas: Vec<SummaryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_after: Option<String>,
}

impl Show for Sagas {
    fn to_text(&self) -> String {
        if self.sagas.is_empty() {
            return String::new();
        }
        let rows = self.sagas.iter().map(|saga| {
            let SummaryView { saga_id, saga_type, correlation_id, state, activity, progress, current_step, .. } = saga;
            [
                saga_id.clone(),
                saga_type.clone(),
                correlation_id.clone(),
                (*state).to_owned(),
                (*activity).to_owned(),
                progress.clone(),
                current_step.clone(),
                saga.started_at.clone(),
            ]
        });
        table(["saga", "type", "correlation id", "state", "activity", ">progress", "step", "since"], rows)
    }

    fn note(&self) -> Option<String> {
        match &self.next_after {
            Some(after) => Some(format!("there are more: --after {after}")),
            None => self.sagas.is_empty().then(|| "no sagas".into()),
        }
    }
}

pub(super) async fn run(args: ListArgs, output: Output) -> Result<(), Failure> {
    let mut client = args.remote.connect().await?.sagas();
    let wanted = if args.limit == 0 { u64::MAX } else { args.limit };
    let mut found = Sagas { sagas: Vec::new(), next_after: args.after };
    loop {
        let missing = wanted - found.sagas.len() as u64;
        let request = ListSagasRequest {
            r#type: args.saga_type.clone().unwrap_or_default(),
            state: args.state.map_or(SagaState::Unspecified, SagaState::from).into(),
            activity: args.activity.map_or(SagaActivity::Unspecified, SagaActivity::from).into(),
            correlation_id: args.correlation_id.clone().unwrap_or_default(),
            step: args.step.clone().unwrap_or_default(),
            older_than_ms: args.older_than.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
            after: found.next_after.take().unwrap_or_default(),
            limit: u32::try_from(missing).unwrap_or(PAGE).min(PAGE),
        };
        let page = client.list_sagas(request).await?.into_inner();
        found.sagas.extend(page.sagas.into_iter().map(SummaryView::from));
        found.next_after = (!page.next_after.is_empty()).then_some(page.next_after);
        if found.next_after.is_none() || found.sagas.len() as u64 >= wanted {
            return output.show(&found);
        }
    }
}
