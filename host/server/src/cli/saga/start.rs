//! `wasmill saga start`.

use std::io::Read as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use serde::Serialize;

use super::Remote;
use super::status::Status;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::proto::StartSagaRequest;

pub(super) const ADVICE: &str = "There is one saga for each type and correlation id, so that a start can be repeated \
    without harm. With --wait the command ends with 1 unless the saga was completed or is still going on.";

#[derive(Args, Clone, Debug)]
pub(crate) struct StartArgs {
    /// The saga's type: the name of its plugin
    #[arg(value_name = "TYPE")]
    saga_type: String,
    /// What it is started with
    #[arg(long, value_name = "JSON", conflicts_with = "input_file")]
    input: Option<String>,
    /// The same from a file, or from standard input for `-`
    #[arg(long, value_name = "FILE")]
    input_file: Option<PathBuf>,
    /// What it is about, such as the id of an order [default: a new one]
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// Wait so long until it has ended or needs a person, such as 30s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Started {
    saga_id: String,
    correlation_id: String,
    created: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

impl Show for Started {
    fn to_text(&self) -> String {
        let Started { saga_id, correlation_id, created, status } = self;
        let done = if *created { "started" } else { "was there already:" };
        let head = format!("{done} {saga_id}, correlation id {correlation_id}");
        match status {
            None => head,
            Some(status) => format!("{head}\n{}", status.to_text()),
        }
    }
}

pub(super) async fn run(args: StartArgs, output: Output) -> Result<(), Failure> {
    let StartArgs { saga_type, input, input_file, correlation_id, wait, remote } = args;
    let input = match (input, input_file) {
        (Some(input), _) => input.into(),
        (None, Some(file)) => read(&file)?,
        (None, None) => Bytes::new(),
    };
    if !input.is_empty()
        && let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&input)
    {
        return Err(Failure::usage(format!("the input is not JSON: {error}")));
    }
    let until = Instant::now() + wait.unwrap_or_default();
    let wait_ms = wait.map_or(0, super::call_wait_ms);
    let mut client = remote.connect().await?.sagas();
    let request = StartSagaRequest { r#type: saga_type, correlation_id, input, wait_ms };
    let answer = client.start_saga(request).await?.into_inner();
    let status = match answer.saga {
        None => None,
        Some(saga) => Some(super::wait(&mut client, super::view(Some(saga))?, until).await?),
    };
    let (saga_id, correlation_id, created) = (answer.id, answer.correlation_id, answer.created);
    let started = Started { saga_id, correlation_id, created, status };
    output.show(&started)?;
    started.status.map_or(Ok(()), |status| super::judged(&status, output))
}

fn read(file: &std::path::Path) -> Result<Bytes, Failure> {
    let mut bytes = Vec::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        _ => std::fs::read(file).map(|content| bytes = content),
    };
    read.map_err(|error| Failure::file(&file.display().to_string(), &error))?;
    Ok(bytes.into())
}
