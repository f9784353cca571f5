//! Outgoing HTTP of steps: through the host, to what was granted, and recorded with the attempt.
//!
//! [`grant`] says what a revision may reach, [`target`] what a URL is once nothing in it can be read in two ways,
//! [`headers`] what a guest may say and where secrets go, [`address`] what is on the public network, and
//! [`outgoing`] makes the exchanges of one attempt.

pub mod address;
pub(crate) mod grant;
mod headers;
mod outgoing;
mod target;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use outgoing::{Gate, Outgoing};

/// What a step asks for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// Shorter than what is left of the attempt, if given.
    pub timeout: Option<Duration>,
}

impl std::fmt::Debug for HttpRequest {
    /// Headers carry secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpRequest").field("method", &self.method).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// Why there is no response. `code` is stable: one of [`code`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    pub code: &'static str,
    pub message: String,
}

impl HttpError {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// `http-error.code` of the contract.
pub mod code {
    /// Not granted, or an address that is not public.
    pub const REFUSED: &str = "http.refused";
    pub const INVALID: &str = "http.invalid";
    /// Nothing was sent.
    pub const CONNECT: &str = "http.connect";
    /// The answer is not whole: what was asked may be done.
    pub const BROKEN: &str = "http.broken";
    /// What was asked may be done.
    pub const TIMEOUT: &str = "http.timeout";
    /// The request, or the answer: then, what was asked may be done.
    pub const TOO_LARGE: &str = "http.too-large";
}

/// Does one exchange, without following redirects. The server implements it.
#[async_trait]
pub trait HttpClient: Send + Sync + 'static {
    /// The URL is checked, and written in one way only. Connects only to addresses that the rules allow, and to
    /// the very address that was looked at; stops reading at `response_bytes_max`; takes at most `timeout`. It may
    /// be polled on any runtime, and dropping it ends the exchange.
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

impl HttpRules {
    /// Whether a name may stand for this address, or a URL name it.
    pub fn allows(&self, address: IpAddr) -> bool {
        self.private || address::is_public(address)
    }
}

/// Values that operators give to the host, and that it puts into requests.
pub trait Secrets: Send + Sync + 'static {
    fn secret(&self, name: &str) -> Option<String>;
}

/// An exchange as it stands on the timeline; a redirect is one of its own. No header and no body is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRecord {
    pub method: String,
    /// Without user, query and fragment.
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Code and message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    pub took_us: u64,
}

/// Whether a text names hosts as [`Network::private_hosts`] does.
pub fn is_host(text: &str) -> bool {
    grant::HostPattern::of_private(text).is_some()
}

/// What the host's operators let sagas reach, beside what each was granted.
#[derive(Clone, Default)]
pub struct Network {
    /// Without one nothing is sent.
    pub client: Option<Arc<dyn HttpClient>>,
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Hosts that may be on a private network, or on this machine: names, `*.NAME` for those below one,
    /// addresses, or `*`.
    pub private_hosts: Arc<[String]>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").field("private_hosts", &self.private_hosts).finish_non_exhaustive()
    }
}
