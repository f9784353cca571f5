//! Outgoing HTTP of steps: through the host, to what was granted, and recorded with the attempt.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, Timestamp};

/// What a step asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Shorter than what is left of the attempt, if given.
    pub timeout: Option<Duration>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// Why there is no response. `code` is stable, as in `failure.code` of the contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    /// `http.refused`, `http.timeout`, `http.too-large`, `http.connect`, `http.invalid`.
    pub code: &'static str,
    pub message: String,
}

/// Does one exchange, without following redirects. The server implements it.
#[async_trait]
pub trait HttpClient: Send + Sync + 'static {
    /// Connects only to addresses that `allows` (called after the name was resolved), reads at most
    /// `response_bytes_max`, and takes at most `timeout`.
    async fn send(&self, request: HttpRequest, rules: &HttpRules) -> Result<HttpResponse, HttpError>;
}

/// What one exchange must keep.
#[derive(Clone, Copy, Debug)]
pub struct HttpRules {
    /// The host may be on a private network or on this machine.
    pub private: bool,
    pub response_bytes_max: usize,
    pub timeout: Duration,
}

/// Values that operators give to the host, and that it puts into requests.
pub trait Secrets: Send + Sync + 'static {
    fn secret(&self, name: &str) -> Option<String>;
}

/// A call as it stands on the timeline. No header and no body is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRecord {
    pub method: String,
    /// Without user, query and fragment.
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub took_us: u64,
}

/// What the host's operators let sagas reach, beside what each was granted.
#[derive(Clone, Default)]
pub struct Network {
    /// Without one nothing is sent.
    pub client: Option<Arc<dyn HttpClient>>,
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Host names and addresses that may be on a private network, or on this machine.
    pub private_hosts: Arc<[String]>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("private_hosts", &self.private_hosts).finish_non_exhaustive()
    }
}

/// What one revision of a saga may send, and to whom.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    network: Network,
}

impl Gate {
    /// `grants` are capabilities as the descriptor names them: `http:METHODS URL-PATTERN` and `secret:NAME`.
    pub fn new<'a>(network: Network, grants: impl Iterator<Item = &'a str>) -> Self {
        let _ = grants.count();
        Self { network }
    }

    /// The way out of one attempt.
    pub fn open(self: &Arc<Self>, idempotency_key: String, deadline: Timestamp, clock: Arc<dyn Clock>) -> Outgoing {
        Outgoing { gate: Arc::clone(self), idempotency_key, deadline, clock, records: Mutex::default() }
    }
}

/// The way out of one attempt.
pub struct Outgoing {
    gate: Arc<Gate>,
    idempotency_key: String,
    deadline: Timestamp,
    clock: Arc<dyn Clock>,
    records: Mutex<Vec<HttpRecord>>,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

impl Outgoing {
    /// What was sent so far.
    pub fn records(&self) -> Vec<HttpRecord> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
