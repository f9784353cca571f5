//! The flights of January 2013, their known answers, and the components that fold them.

use std::io::Read;
use std::path::PathBuf;

use serde_json::Value;
use tonic::Streaming;
use wasmill_server::proto::append_bulk_answer::Outcome;
use wasmill_server::proto::append_bulk_response::Kind;
use wasmill_server::proto::{AppendBulkRequest, AppendBulkResponse, AppendRequest, NewEvent};
pub use wasmill_tests::guest;

use super::{TestHost, root};

fn unzipped(name: &str) -> String {
    let file = std::fs::File::open(root().join("examples/flights").join(name)).expect("the data is shipped");
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).expect("it is gzip");
    text
}

/// Microseconds since the Unix epoch.
fn time_us(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect("a time").as_microsecond()
}

/// `(stream, event)` in the order of the file.
pub fn events() -> Vec<(String, NewEvent)> {
    let parse = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |name: &str| line[name].as_str().expect("a text").to_owned();
        let event = NewEvent {
            id: text("id"),
            r#type: text("type"),
            key: Some(text("key")),
            time_us: Some(time_us(&text("time"))),
            data: line["data"].to_string().into(),
            ..NewEvent::default()
        };
        (text("stream"), event)
    };
    unzipped("flights-2013-01.jsonl.gz").lines().map(parse).collect()
}

pub fn answers() -> Value {
    serde_json::from_str(&unzipped("flights-2013-01.answers.json.gz")).expect("JSON")
}

pub fn rust_component() -> PathBuf {
    guest("flights")
}

pub fn js_component() -> PathBuf {
    root().join("plugins/flights-js/dist/flights-js.wasm")
}

/// Publishes in bulk; `per_append` neighbours of one stream share an append. Returns how many events
/// were acknowledged, and whether the host was there to the end.
pub async fn publish(host: &TestHost, events: &[(String, NewEvent)]) -> Result<usize, tonic::Status> {
    let requests: Vec<AppendBulkRequest> = (0..)
        .zip(events.iter())
        .map(|(tag, (stream, event))| AppendBulkRequest {
            tag,
            append: Some(AppendRequest {
                stream: stream.clone(),
                events: vec![event.clone()],
                ..AppendRequest::default()
            }),
        })
        .collect();
    let (send, receive) = tokio::sync::mpsc::channel(256);
    tokio::spawn(async move {
        for request in requests {
            if send.send(request).await.is_err() {
                return;
            }
        }
    });
    let requests = futures_util::stream::unfold(receive, async |mut receive| Some((receive.recv().await?, receive)));
    let answers = host.log().await.append_bulk(requests).await?.into_inner();
    count(answers).await
}

async fn count(mut answers: Streaming<AppendBulkResponse>) -> Result<usize, tonic::Status> {
    let mut acknowledged = 0;
    while let Some(response) = answers.message().await? {
        match response.kind {
            Some(Kind::Answer(answer)) => match answer.outcome {
                Some(Outcome::Appended(_)) => acknowledged += 1,
                other => panic!("event {} was not taken: {other:?}", answer.tag),
            },
            Some(Kind::Window(_)) | None => {}
        }
    }
    Ok(acknowledged)
}
