//! `wasmill group consume`: a worker that prints.

use clap::Args;
use uuid::Uuid;

use super::Remote;
use crate::cli::client::Client;
use crate::cli::event::Shown;
use crate::cli::exit::Failure;
use crate::cli::output::Output;
use crate::cli::until_interrupted;
use crate::proto::{AckRequest, Delivery, JoinGroupRequest, LeaveGroupRequest, Outcome, PullRequest};
use crate::serve::signalled;

pub(super) const ADVICE: &str = "Events are printed as JSON, one on each line, whatever --output says. Each is \
    acknowledged after it was written to standard output; one that was printed when the command died may be printed \
    again. Ends with Ctrl-C, and gives back what it has.";

/// Deliveries of one pull: few, so that a worker that prints slowly does not hold what others could have.
const PULL_MAX: u64 = 100;
/// Less than the session timeout that groups have by default.
const WAIT_MS: u32 = 10_000;

#[derive(Args, Clone, Debug)]
pub(crate) struct ConsumeArgs {
    /// The group's name
    #[arg(value_name = "NAME")]
    name: String,
    /// This worker's name among the members; one that has it already is taken for gone [default: a new one]
    #[arg(long, value_name = "MEMBER")]
    member: Option<String>,
    /// Events after which to end; 0 stands for no end
    #[arg(long, default_value_t = 0, value_name = "EVENTS")]
    limit: u64,
    #[command(flatten)]
    remote: Remote,
}

/// A joined member.
struct Worker {
    client: Client,
    group: String,
    session: String,
}

pub(super) async fn run(args: ConsumeArgs, output: Output) -> Result<(), Failure> {
    let worker = until_interrupted(join(&args)).await?;
    let worked = tokio::select! {
        biased;
        () = signalled() => Ok(()),
        worked = work(&worker, args.limit, output) => worked,
    };
    let Worker { client, group, session } = worker;
    let left = client.groups().leave_group(LeaveGroupRequest { group, session }).await;
    worked?;
    left?;
    Ok(())
}

async fn join(args: &ConsumeArgs) -> Result<Worker, Failure> {
    let client = args.remote.connect().await?;
    let member = args.member.clone().unwrap_or_else(|| format!("wasmill-{}", Uuid::new_v4()));
    let request = JoinGroupRequest { group: args.name.clone(), member };
    let session = client.groups().join_group(request).await?.into_inner().session;
    Ok(Worker { client, group: args.name.clone(), session })
}

/// Ends when there were as many events as are wanted.
async fn work(worker: &Worker, limit: u64, output: Output) -> Result<(), Failure> {
    let mut groups = worker.client.groups();
    let mut printed = 0;
    while limit == 0 || printed < limit {
        let wanted = if limit == 0 { PULL_MAX } else { (limit - printed).min(PULL_MAX) };
        let request = PullRequest {
            group: worker.group.clone(),
            session: worker.session.clone(),
            limit: u32::try_from(wanted).ok(),
            wait_ms: WAIT_MS,
        };
        let deliveries = groups.pull(request).await?.into_inner().deliveries;
        printed += deliveries.len() as u64;
        let tokens = print(deliveries, output)?;
        if tokens.is_empty() {
            continue;
        }
        let request = AckRequest { group: worker.group.clone(), session: worker.session.clone(), tokens };
        let answer = groups.ack(request).await?.into_inner();
        let late = answer.outcomes().filter(|outcome| *outcome == Outcome::Superseded).count();
        if late > 0 {
            output.note(&format!("{late} of them came back to the group before they were acknowledged"));
        }
    }
    Ok(())
}

/// Prints the events, and returns the tokens of their deliveries.
pub(in crate::cli) fn print(deliveries: Vec<Delivery>, output: Output) -> Result<Vec<u64>, Failure> {
    let (mut tokens, mut lines) = (Vec::with_capacity(deliveries.len()), Vec::new());
    for Delivery { token, event, .. } in deliveries {
        let event = event.ok_or_else(|| Failure::failed("malformed_answer", "a delivery holds no event"))?;
        serde_json::to_writer(&mut lines, &Shown::decode(event)?).map_err(std::io::Error::from)?;
        lines.push(b'\n');
        tokens.push(token);
    }
    output.raw(&lines)?;
    Ok(tokens)
}
