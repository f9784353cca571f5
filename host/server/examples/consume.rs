//! A member of a consumer group over gRPC, in one call with credit.
//!
//!     cargo run --release --example consume [URL]          a host at URL, by default http://127.0.0.1:7400
//!
//! Publishes twenty events, handles them as a member of the group `counting`, and ends; a real worker goes on.

#![allow(clippy::print_stdout, reason = "it shows what it does")]

use std::collections::VecDeque;
use std::error::Error;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::transport::Channel;
use wasmill_server::proto::consume_request::Kind as Ask;
use wasmill_server::proto::consume_response::Kind as Said;
use wasmill_server::proto::group_service_client::GroupServiceClient;
use wasmill_server::proto::log_service_client::LogServiceClient;
use wasmill_server::proto::{
    AppendRequest, ConsumeAck, ConsumeNack, ConsumeOpen, ConsumeRequest, CreateGroupRequest, Delivery, NewEvent,
    Outcome, Refusal, refusal,
};

const GROUP: &str = "counting";
const EVENTS: u64 = 20;
/// Deliveries that may be on their way or in hand: enough to keep the worker busy, and no more, since nobody else
/// gets them meanwhile.
const CREDIT: u32 = 8;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "http://127.0.0.1:7400".into());
    let channel = Channel::from_shared(url)?.connect().await?;
    publish(channel.clone()).await?;
    let mut groups = GroupServiceClient::new(channel);
    let config_json = r#"{"streams":["numbers"],"maxDeliveries":5}"#.into();
    groups.create_group(CreateGroupRequest { name: GROUP.into(), config_json, start: None }).await?;
    let handled = consume(groups).await?;
    println!("handled {handled} events");
    Ok(())
}

async fn publish(channel: Channel) -> Result<(), Status> {
    let event = |n: u64| NewEvent {
        r#type: "counted".into(),
        key: Some(format!("key-{}", n % 4)),
        data: n.to_string().into(),
        ..NewEvent::default()
    };
    let append = AppendRequest {
        stream: "numbers".into(),
        events: (0..EVENTS).map(event).collect(),
        ..AppendRequest::default()
    };
    LogServiceClient::new(channel).append(append).await?;
    Ok(())
}

/// Ends when so many events were acknowledged as were published.
async fn consume(mut groups: GroupServiceClient<Channel>) -> Result<u64, Box<dyn Error>> {
    let (requests, receiver) = mpsc::channel(64);
    let open = ConsumeOpen { group: GROUP.into(), member: "counter-1".into(), credit: CREDIT };
    requests.send(ConsumeRequest { kind: Some(Ask::Open(open)) }).await?;
    let mut answers = groups.consume(ReceiverStream::new(receiver)).await?.into_inner();
    // Answers come in the order of the requests: whether each was an acknowledgement.
    let mut asked = VecDeque::new();
    let mut handled = 0;
    while let Some(answer) = answers.message().await? {
        match answer.kind {
            Some(Said::Opened(opened)) => println!("joined, session {}", opened.session),
            Some(Said::Deliveries(deliveries)) => {
                for delivery in deliveries.deliveries {
                    let token = delivery.token;
                    let request = match handle(delivery) {
                        Ok(()) => Ask::Ack(ConsumeAck { tokens: vec![token] }),
                        Err(why) => {
                            let refusal = Some(Refusal { kind: Some(refusal::Kind::Retry(why)) });
                            Ask::Nack(ConsumeNack { tokens: vec![token], refusal })
                        }
                    };
                    asked.push_back(matches!(request, Ask::Ack(_)));
                    requests.send(ConsumeRequest { kind: Some(request) }).await?;
                    // For each delivery that is out of hand another one may come.
                    requests.send(ConsumeRequest { kind: Some(Ask::Credit(1)) }).await?;
                }
            }
            Some(Said::Settled(settled)) => {
                let was_ack = asked.pop_front().unwrap_or_default();
                let durable = settled.outcomes().filter(|outcome| *outcome == Outcome::Durable).count();
                handled += if was_ack { durable as u64 } else { 0 };
            }
            None => {}
        }
        if handled == EVENTS {
            break;
        }
    }
    // Hanging up gives back what is left in hand.
    Ok(handled)
}

/// The work itself. What it refuses comes again after a rest, up to `maxDeliveries` times.
fn handle(delivery: Delivery) -> Result<(), String> {
    let event = delivery.event.ok_or("a delivery without an event")?;
    let event = event.into_event().map_err(|error| error.to_string())?;
    println!("{} {}", event.key().unwrap_or_default(), String::from_utf8_lossy(event.data()));
    Ok(())
}
