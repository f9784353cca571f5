//! `wasmill queue take`: a consumer that prints.

use std::pin::pin;
use std::time::{Duration, Instant};

use clap::Args;
use uuid::Uuid;

use super::Remote;
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::cli::group::print;
use crate::cli::output::Output;
use crate::cli::until_interrupted;
use crate::proto::{AckMessagesRequest, DequeueRequest, Outcome};
use crate::serve::signalled;

pub(super) const ADVICE: &str = "Messages are printed as JSON, one on each line, whatever --output says. Each is \
    acknowledged after it was written to standard output; one that was printed when the command died may be printed \
    again. Ends when nothing came for as long as --wait says, or with Ctrl-C.";

/// Messages of one call: few, so that a consumer that prints slowly does not hold what others could have.
const CALL_MESSAGES_MAX: u64 = 100;
/// A longer wait is several calls.
const CALL_WAIT_MAX: Duration = Duration::from_secs(10);

#[derive(Args, Clone, Debug)]
pub(crate) struct TakeArgs {
    /// The queue's name
    #[arg(value_name = "NAME")]
    name: String,
    /// Messages after which to end; 0 stands for no end
    #[arg(long, default_value_t = 1, value_name = "MESSAGES")]
    limit: u64,
    /// How long to wait for a message when there is none, such as 5s
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// How long others do not get the messages, such as 30s: time enough to print them [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    visibility: Option<Duration>,
    /// This consumer's name [default: a new one]
    #[arg(long, value_name = "CONSUMER")]
    consumer: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

pub(super) async fn run(args: TakeArgs, output: Output) -> Result<(), Failure> {
    let client = until_interrupted(args.remote.connect()).await?;
    let consumer = args.consumer.clone().unwrap_or_else(|| format!("wasmill-{}", Uuid::new_v4()));
    let mut stopped = pin!(signalled());
    let (mut taken, mut waited_since) = (0, Instant::now());
    while args.limit == 0 || taken < args.limit {
        let wait = args.wait.saturating_sub(waited_since.elapsed());
        let wanted = if args.limit == 0 { CALL_MESSAGES_MAX } else { (args.limit - taken).min(CALL_MESSAGES_MAX) };
        let request = DequeueRequest {
            queue: args.name.clone(),
            consumer: consumer.clone(),
            limit: u32::try_from(wanted).ok(),
            wait_ms: millis(wait.min(CALL_WAIT_MAX)).try_into().unwrap_or(u32::MAX),
            visibility_ms: args.visibility.map(millis),
        };
        let mut queues = client.queues();
        let messages = tokio::select! {
            biased;
            // What the host hands out meanwhile comes back by itself.
            () = &mut stopped => return Ok(()),
            answer = queues.dequeue(request) => answer?.into_inner().messages,
        };
        if messages.is_empty() {
            if waited_since.elapsed() < args.wait {
                continue;
            }
            if taken == 0 {
                output.note("nothing to take");
            }
            return Ok(());
        }
        taken += messages.len() as u64;
        let tokens = print(messages, output)?;
        acknowledge(&client, &args.name, &consumer, tokens, output).await?;
        waited_since = Instant::now();
    }
    Ok(())
}

async fn acknowledge(
    client: &Client,
    queue: &str,
    consumer: &str,
    tokens: Vec<u64>,
    output: Output,
) -> Result<(), Failure> {
    let request = AckMessagesRequest { queue: queue.into(), consumer: consumer.into(), tokens };
    let answer = client.queues().ack_messages(request).await?.into_inner();
    let late = answer.outcomes().filter(|outcome| *outcome == Outcome::Superseded).count();
    if late > 0 {
        output.note(&format!("{late} of them went back to the queue before they were acknowledged"));
    }
    Ok(())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
