//! `wasmill receipt`: who was delivered, and who has read, which event.

mod show;

use clap::{Args, Subcommand};

use super::client::Remote;
use super::exit::Failure;
use super::output::Output;
use crate::proto::{
    ListConsumersRequest, ListReceiptsOfConsumerRequest, ListReceiptsOfEventRequest, ListStreamsOfConsumerRequest,
    NoteReceiptsRequest,
};
use show::{Noted, ProgressList, Receipts};

/// What a host hands out at once.
const PAGE: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptCommand {
    /// Note that a consumer was delivered events of a stream, or has read them
    Note(NoteArgs),
    /// Who was delivered an event, and who has read it
    Event(EventArgs),
    /// How far each consumer of a stream is
    Consumers(ConsumersArgs),
    /// What a consumer was delivered, and what it has read
    Consumer(ConsumerArgs),
    /// How far a consumer is in each of its streams
    Streams(StreamsArgs),
}

#[derive(Args, Clone, Debug)]
pub(crate) struct NoteArgs {
    /// The stream's name
    #[arg(value_name = "STREAM")]
    stream: String,
    /// The consumer: a person, a device, a service
    #[arg(value_name = "CONSUMER")]
    consumer: String,
    /// Offsets of events that it was delivered
    #[arg(long, value_name = "OFFSETS", value_delimiter = ',', required_unless_present = "read")]
    delivered: Vec<u64>,
    /// Offsets of events that it has read
    #[arg(long, value_name = "OFFSETS", value_delimiter = ',')]
    read: Vec<u64>,
    #[command(flatten)]
    remote: Remote,
}

/// Which part of a list.
#[derive(Args, Clone, Debug)]
struct Part {
    /// Names after this one
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
    /// Most entries; 0 stands for all there are
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: u64,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct EventArgs {
    /// The stream's name
    #[arg(value_name = "STREAM")]
    stream: String,
    /// The event's offset
    #[arg(value_name = "OFFSET")]
    offset: u64,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ConsumersArgs {
    /// The stream's name
    #[arg(value_name = "STREAM")]
    stream: String,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ConsumerArgs {
    /// The consumer
    #[arg(value_name = "CONSUMER")]
    consumer: String,
    /// Only what is of this stream
    #[arg(long, value_name = "STREAM")]
    stream: Option<String>,
    /// Only what was not read
    #[arg(long)]
    unread: bool,
    /// Most receipts; 0 stands for all there are
    #[arg(long, default_value_t = 100, value_name = "COUNT")]
    limit: u64,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct StreamsArgs {
    /// The consumer
    #[arg(value_name = "CONSUMER")]
    consumer: String,
    #[command(flatten)]
    part: Part,
    #[command(flatten)]
    remote: Remote,
}

pub(crate) async fn run(command: ReceiptCommand, output: Output) -> Result<(), Failure> {
    match command {
        ReceiptCommand::Note(args) => note(args, output).await,
        ReceiptCommand::Event(args) => event(args, output).await,
        ReceiptCommand::Consumers(args) => consumers(args, output).await,
        ReceiptCommand::Consumer(args) => consumer(args, output).await,
        ReceiptCommand::Streams(args) => streams(args, output).await,
    }
}

async fn note(args: NoteArgs, output: Output) -> Result<(), Failure> {
    let NoteArgs { stream, consumer, delivered, read, remote } = args;
    let noted = Noted {
        stream: stream.clone(),
        consumer: consumer.clone(),
        delivered: delivered.len() as u64,
        read: read.len() as u64,
    };
    remote.connect().await?.receipts().note_receipts(NoteReceiptsRequest { stream, consumer, delivered, read }).await?;
    output.show(&noted)
}

/// Asks for as much of a list as is wanted. `ask` takes where to go on and how many.
async fn gather<T, N: Default>(
    start: N,
    limit: u64,
    mut ask: impl AsyncFnMut(N, u32) -> Result<(Vec<T>, Option<N>), Failure>,
) -> Result<(Vec<T>, Option<N>), Failure> {
    let wanted = if limit == 0 { u64::MAX } else { limit };
    let (mut found, mut at) = (Vec::new(), start);
    loop {
        let missing = u32::try_from(wanted - found.len() as u64).unwrap_or(PAGE).min(PAGE);
        let (entries, next) = ask(at, missing).await?;
        found.extend(entries);
        match next {
            Some(next) if (found.len() as u64) < wanted => at = next,
            next => return Ok((found, next)),
        }
    }
}

fn next(after: String) -> Option<String> {
    (!after.is_empty()).then_some(after)
}

async fn event(args: EventArgs, output: Output) -> Result<(), Failure> {
    let EventArgs { stream, offset, part: Part { after, limit }, remote } = args;
    let mut client = remote.connect().await?.receipts();
    let (found, next_after) = gather(after.unwrap_or_default(), limit, async |after, limit| {
        let request = ListReceiptsOfEventRequest { stream: stream.clone(), offset, after, limit };
        let page = client.list_receipts_of_event(request).await?.into_inner();
        Ok((page.receipts, next(page.next_after)))
    })
    .await?;
    output.show(&Receipts::of_event(found, next_after))
}

async fn consumers(args: ConsumersArgs, output: Output) -> Result<(), Failure> {
    let ConsumersArgs { stream, part: Part { after, limit }, remote } = args;
    let mut client = remote.connect().await?.receipts();
    let (found, next_after) = gather(after.unwrap_or_default(), limit, async |after, limit| {
        let request = ListConsumersRequest { stream: stream.clone(), after, limit };
        let page = client.list_consumers(request).await?.into_inner();
        Ok((page.consumers, next(page.next_after)))
    })
    .await?;
    output.show(&ProgressList::of_stream(found, next_after))
}

async fn consumer(args: ConsumerArgs, output: Output) -> Result<(), Failure> {
    let ConsumerArgs { consumer, stream, unread, limit, remote } = args;
    let mut client = remote.connect().await?.receipts();
    let stream = stream.unwrap_or_default();
    let (found, next) = gather(None, limit, async |from, limit| {
        let (consumer, stream) = (consumer.clone(), stream.clone());
        let request = ListReceiptsOfConsumerRequest { consumer, stream, from, unread, limit };
        let page = client.list_receipts_of_consumer(request).await?.into_inner();
        Ok((page.receipts, page.next.map(Some)))
    })
    .await?;
    output.show(&Receipts::of_consumer(found, next.is_some()))
}

async fn streams(args: StreamsArgs, output: Output) -> Result<(), Failure> {
    let StreamsArgs { consumer, part: Part { after, limit }, remote } = args;
    let mut client = remote.connect().await?.receipts();
    let (found, next_after) = gather(after.unwrap_or_default(), limit, async |after, limit| {
        let request = ListStreamsOfConsumerRequest { consumer: consumer.clone(), after, limit };
        let page = client.list_streams_of_consumer(request).await?.into_inner();
        Ok((page.streams, next(page.next_after)))
    })
    .await?;
    output.show(&ProgressList::of_consumer(found, next_after))
}
