//! Publishers for the measurements: connections, and requests that are made beforehand.

use bytes::Bytes;
use uuid::Uuid;

use super::target::Target;
use crate::cli::client::Client;
use crate::cli::exit::Failure;
use crate::proto::{AppendRequest, NewEvent};

/// Data of one event, as everybody measures it.
pub(crate) const EVENT_BYTES: usize = 256;
/// One connection is one task at each end, and they would be the bottleneck for many publishers; more
/// connections than the machine has use for only cost switches (measured: see examples/bench/README.md).
const CONNECTIONS_MAX: usize = 4;

/// Names streams so that no two runs share one.
pub(crate) fn run_name(purpose: &str) -> String {
    format!("bench-{purpose}-{}", &Uuid::new_v4().simple().to_string()[..8])
}

/// As many connections as `publishers` can use.
pub(crate) async fn connect(target: &Target, publishers: usize) -> Result<Vec<Client>, Failure> {
    let mut clients = Vec::new();
    for _ in 0..publishers.clamp(1, CONNECTIONS_MAX) {
        clients.push(target.remote.connect().await?);
    }
    Ok(clients)
}

/// An append of `batch` events whose ids the host makes: it can be sent any number of times, and only
/// costs a few copies of short texts each time.
pub(crate) fn request(stream: String, batch: usize, size: usize) -> AppendRequest {
    let event = NewEvent { r#type: "bench.happened".into(), data: data(size), ..NewEvent::default() };
    AppendRequest { stream, events: vec![event; batch], ..AppendRequest::default() }
}

/// JSON of exactly `size` bytes, or the shortest there is.
pub(crate) fn data(size: usize) -> Bytes {
    const START: &str = "{\"customer\":\"c-4711\",\"pence\":1299,\"note\":\"";
    const END: &str = "\"}";
    if size < START.len() + END.len() {
        return Bytes::from(format!("{:<size$}", "{}"));
    }
    let note = "x".repeat(size - START.len() - END.len());
    Bytes::from([START, &note, END].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_has_the_size_asked_for_and_is_json() {
        for size in [2, 10, 43, 44, 256, 4_096] {
            let data = data(size);
            assert_eq!(data.len(), size);
            assert!(serde_json::from_slice::<serde_json::Value>(&data).is_ok(), "{size}");
        }
    }
}
