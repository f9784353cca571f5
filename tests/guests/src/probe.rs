//! What a plugin can find out.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Instant, SystemTime};

use serde_json::{Map, Value, json};
use wasmill_guest::Failure;

pub(crate) fn pairs(pairs: Vec<(String, String)>) -> Value {
    Value::Object(pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect::<Map<_, _>>())
}

pub(crate) fn keys<T>(documents: impl Iterator<Item = Result<(String, T), Failure>>) -> Result<Value, Failure> {
    documents.map(|document| Ok(Value::String(document?.0))).collect()
}

/// Time and random numbers: of a projection's, none may differ between two runs.
pub(crate) fn clock() -> Value {
    let started = Instant::now();
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // As text: the numbers do not fit in a double.
    json!({
        "timeUs": since_epoch.as_micros().to_string(),
        "elapsedNs": started.elapsed().as_nanos().to_string(),
        "hash": RandomState::new().hash_one("wasmill").to_string(),
    })
}

/// Files, network, environment: each is either empty or the error that the guest got.
pub(crate) fn reach() -> Value {
    let outcome = |result: std::io::Result<String>| result.unwrap_or_else(|error| format!("error: {error}"));
    json!({
        "file": outcome(std::fs::read_to_string("/etc/hostname")),
        "written": outcome(std::fs::write("/tmp/wasmill-test-guest", "x").map(|()| "yes".to_owned())),
        "connected": outcome(TcpStream::connect("127.0.0.1:7400").map(|_| "yes".to_owned())),
        "listened": outcome(TcpListener::bind("127.0.0.1:0").map(|_| "yes".to_owned())),
        "bound": outcome(UdpSocket::bind("127.0.0.1:0").map(|_| "yes".to_owned())),
        "resolved": outcome("localhost:80".to_socket_addrs().map(|_| "yes".to_owned())),
        "environment": std::env::vars().count(),
        "arguments": std::env::args().count(),
    })
}
