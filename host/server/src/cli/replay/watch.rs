//! Watching a replay, and receiving one.

use std::time::Duration;

use indicatif::ProgressBar;

use super::status::Status;
use crate::cli::client::Connection;
use crate::cli::event::Shown;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::proto::replay_service_client::ReplayServiceClient;
use crate::proto::{GetReplayRequest, ReceiveReplayRequest};
use crate::serve::signalled;

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

type Client = ReplayServiceClient<Connection>;

/// Shows a bar until it is over, and then the replay. Interrupting it leaves the replay alone.
pub(super) async fn until_over(client: &mut Client, id: String, output: Output) -> Result<(), Failure> {
    let bar = output.events_bar("replaying", 0);
    let stop = signalled();
    tokio::pin!(stop);
    loop {
        let status = look(client, &id).await?;
        draw(&bar, &status);
        if status.is_over() {
            bar.finish_and_clear();
            return end(&status, output);
        }
        tokio::select! {
            () = &mut stop => {
                bar.finish_and_clear();
                output.note(&format!("it goes on without you: wasmill replay watch {id}"));
                return Ok(());
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Prints events until it is over.
pub(super) async fn receive(
    client: &mut Client,
    id: String,
    after: Option<u64>,
    output: Output,
) -> Result<(), Failure> {
    let bar = output.events_bar("replaying", 0);
    let mut last = after;
    let request = ReceiveReplayRequest { id: id.clone(), after_position: after };
    let mut answers = client.receive_replay(request).await?.into_inner();
    draw(&bar, &look(client, &id).await?);
    let stop = signalled();
    tokio::pin!(stop);
    let ended = loop {
        let answer = tokio::select! {
            biased;
            () = &mut stop => break Err(Failure::interrupted("stopped by a signal")),
            answer = answers.message() => answer,
        };
        match answer {
            Ok(Some(page)) => {
                let events: Vec<Shown> = page.events.into_iter().map(Shown::decode).collect::<Result<_, _>>()?;
                last = events.last().map(Shown::position).or(last);
                bar.inc(events.len() as u64);
                bar.suspend(|| output.show_all(events))?;
            }
            Ok(None) => break Ok(()),
            Err(status) => break Err(Failure::from(status)),
        }
    };
    bar.finish_and_clear();
    match (ended, last) {
        (Ok(()), _) => Ok(()),
        (Err(failure), None) => Err(failure),
        (Err(failure), Some(last)) => {
            Err(Failure { help: Some(format!("go on with: wasmill replay receive {id} --after {last}")), ..failure })
        }
    }
}

async fn look(client: &mut Client, id: &str) -> Result<Status, Failure> {
    super::status(client.get_replay(GetReplayRequest { id: id.to_owned() }).await?.into_inner().replay)
}

fn draw(bar: &ProgressBar, status: &Status) {
    bar.set_length(status.0.total);
    bar.set_position(status.0.done);
}

fn end(status: &Status, output: Output) -> Result<(), Failure> {
    output.show(status)?;
    match &status.0.error {
        None => Ok(()),
        Some(error) => Err(Failure::failed("replay_failed", error.clone())),
    }
}
