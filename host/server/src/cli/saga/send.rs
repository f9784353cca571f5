//! `wasmill saga send`.

use clap::Args;
use serde::Serialize;

use super::Remote;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, Show};
use crate::proto::SendSagaEventRequest;

#[derive(Args, Clone, Debug)]
pub(crate) struct SendArgs {
    /// The saga's id
    #[arg(value_name = "ID")]
    id: String,
    /// The type of the event
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,
    /// Its data
    #[arg(long, default_value = "{}", value_name = "JSON")]
    data: String,
    /// Its key [default: the one that the saga waits for]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Where it is appended [default: saga-events]
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Serialize)]
struct Sent {
    stream: String,
    offset: u64,
    position: u64,
}

impl Show for Sent {
    fn to_text(&self) -> String {
        let Sent { stream, offset, position } = self;
        format!("sent to {stream}: offset {offset}, position {position}")
    }
}

pub(super) async fn run(args: SendArgs, output: Output) -> Result<(), Failure> {
    let SendArgs { id, event_type, data, key, stream, remote } = args;
    let request = SendSagaEventRequest { id, r#type: event_type, key, stream, data: data.into() };
    let sent = remote.connect().await?.sagas().send_saga_event(request).await?.into_inner();
    output.show(&Sent { stream: sent.stream, offset: sent.offset, position: sent.position })
}
