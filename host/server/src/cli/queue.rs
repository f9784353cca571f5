//! `wasmill queue`: streams whose messages are handed to one consumer each.

mod put;
mod status;
mod take;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Map, Value};

use super::client::Remote;
use super::exit::Failure;
use super::output::{Output, Show};
use super::until_interrupted;
use crate::proto::stream_config_subject::Kind;
use crate::proto::{
    GetQueueRequest, GetStreamConfigRequest, ListGroupsRequest, PutStreamConfigRequest, StreamConfig,
    StreamConfigSubject,
};
use status::{PREFIX, Queue, Queues};

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Make a stream a queue; what else its configuration says stays
    Create(NameArgs),
    /// List queues and how they are doing
    List(ListArgs),
    /// Show one queue: what it has not settled, and who works for it
    Show(NameArgs),
    /// Add messages, from a file or one from the command line
    #[command(after_help = put::ADVICE)]
    Put(put::PutArgs),
    /// Take messages: print each, then acknowledge it
    #[command(after_help = take::ADVICE)]
    Take(take::TakeArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct NameArgs {
    /// The queue's name, which is its stream's
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
struct Created {
    queue: String,
    created: bool,
}

impl Show for Created {
    fn to_text(&self) -> String {
        match self.created {
            true => format!("{} is a queue now", self.queue),
            false => format!("{} is a queue already", self.queue),
        }
    }
}

pub(crate) async fn run(command: QueueCommand, output: Output) -> Result<(), Failure> {
    match command {
        QueueCommand::Create(args) => until_interrupted(create(args, output)).await,
        QueueCommand::List(args) => until_interrupted(list(args, output)).await,
        QueueCommand::Show(args) => until_interrupted(show(args, output)).await,
        QueueCommand::Put(args) => until_interrupted(put::run(args, output)).await,
        QueueCommand::Take(args) => take::run(args, output).await,
    }
}

async fn create(args: NameArgs, output: Output) -> Result<(), Failure> {
    let NameArgs { name, remote } = args;
    let client = remote.connect().await?;
    let subject = Some(StreamConfigSubject { kind: Some(Kind::Stream(name.clone())) });
    let said = client.streams().get_stream_config(GetStreamConfigRequest { subject: subject.clone() }).await?;
    let config = said.into_inner().config.map(|config| config.config_json);
    let (config_json, created) = ephemeral(config.as_deref())?;
    if created {
        let config = Some(StreamConfig { subject, config_json });
        client.streams().put_stream_config(PutStreamConfigRequest { config }).await?;
    }
    // Its group comes with the first call, and with its group it is listed.
    client.queues().get_queue(GetQueueRequest { queue: name.clone() }).await?;
    output.show(&Created { queue: name, created })
}

/// A stream's own configuration as that of a queue, and whether that changes it.
fn ephemeral(config: Option<&str>) -> Result<(String, bool), Failure> {
    let mut fields: Map<String, Value> = serde_json::from_str(config.unwrap_or("{}")).map_err(|error| {
        let message = format!("the host's answer holds a configuration that is not JSON: {error}");
        Failure::failed("malformed_answer", message)
    })?;
    let before = fields.insert("kind".into(), "ephemeral".into());
    Ok((Value::Object(fields).to_string(), before.as_ref().and_then(Value::as_str) != Some("ephemeral")))
}

async fn list(args: ListArgs, output: Output) -> Result<(), Failure> {
    let answer = args.remote.connect().await?.groups().list_groups(ListGroupsRequest {}).await?.into_inner();
    let of_queues = answer.groups.into_iter().filter(|group| group.name.starts_with(PREFIX));
    output.show(&Queues { queues: of_queues.map(Queue::try_from).collect::<Result<_, _>>()? })
}

async fn show(args: NameArgs, output: Output) -> Result<(), Failure> {
    let NameArgs { name, remote } = args;
    let answer = remote.connect().await?.queues().get_queue(GetQueueRequest { queue: name }).await?;
    let group = answer.into_inner().group;
    let group = group.ok_or_else(|| Failure::failed("malformed_answer", "the answer holds no group"))?;
    output.show(&Queue::try_from(group)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_else_is_said_of_the_stream_stays() {
        let said = r#"{"delivery":"exactly_once","kind":"persistent"}"#;
        assert_eq!(ephemeral(Some(said)).unwrap(), (r#"{"delivery":"exactly_once","kind":"ephemeral"}"#.into(), true));
        assert_eq!(ephemeral(None).unwrap(), (r#"{"kind":"ephemeral"}"#.into(), true));
        assert!(!ephemeral(Some(r#"{"kind":"ephemeral"}"#)).unwrap().1);
    }
}
