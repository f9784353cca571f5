//! The exchanges of one attempt.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::grant::{HostPattern, METHODS, Reach};
use super::headers::{Headers, IDEMPOTENCY_KEY};
use super::target::{Target, unread};
use super::{HttpError, HttpRecord, HttpRequest, HttpResponse, HttpRules, Network, code};
use crate::clock::{Clock, Timestamp};
use crate::limits::saga as limits;
use crate::plugin::capability::Capability;

/// What one revision of a saga may send, and to whom.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    network: Network,
    reaches: Vec<Reach>,
    secrets: BTreeSet<String>,
    private: Vec<HostPattern>,
}

impl Gate {
    /// `grants` are capabilities as the descriptor names them, with their settings put in
    /// ([`Setup::capabilities`](crate::plugin::setup::Setup::capabilities)): `http:METHODS URL-PATTERN` and
    /// `secret:NAME`. Others are passed over.
    pub fn new<'a>(network: Network, grants: impl Iterator<Item = &'a str>) -> Self {
        let private = network.private_hosts.iter().filter_map(|host| HostPattern::of_private(host)).collect();
        let mut gate = Self { network, private, ..Self::default() };
        for grant in grants {
            match Capability::parse(grant) {
                Ok(Capability::Http(grant)) => gate.reaches.extend(grant.reach()),
                Ok(Capability::Secret(name)) => drop(gate.secrets.insert(name.to_owned())),
                Ok(Capability::Append(_)) | Err(_) => {}
            }
        }
        gate
    }

    /// The way out of one attempt.
    pub fn open(self: &Arc<Self>, idempotency_key: String, deadline: Timestamp, clock: Arc<dyn Clock>) -> Outgoing {
        Outgoing { gate: Arc::clone(self), idempotency_key, deadline, clock, sent: Mutex::default() }
    }

    fn check(&self, method: &str, target: &Target) -> Result<(), HttpError> {
        if self.reaches.iter().any(|reach| reach.covers(method, target)) {
            return Ok(());
        }
        let granted = self.reaches.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let granted = if granted.is_empty() { "nothing".to_owned() } else { granted };
        let what = format!("{method} {} was not granted (granted: {granted})", target.shown());
        Err(HttpError::new(code::REFUSED, what))
    }

    fn is_private(&self, target: &Target) -> bool {
        self.private.iter().any(|pattern| pattern.matches(target.host()))
    }
}

/// The way out of one attempt.
pub struct Outgoing {
    gate: Arc<Gate>,
    idempotency_key: String,
    deadline: Timestamp,
    clock: Arc<dyn Clock>,
    sent: Mutex<Sent>,
}

#[derive(Default)]
struct Sent {
    records: Vec<HttpRecord>,
    /// Different requests with an idempotency key of the host's, in order.
    keyed: Vec<[u8; 32]>,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").finish_non_exhaustive()
    }
}

/// One exchange of a request that may be redirected.
struct Hop {
    method: &'static str,
    target: Target,
    headers: Headers,
    body: Bytes,
}

impl Outgoing {
    /// What was sent so far, what was refused included.
    pub fn records(&self) -> Vec<HttpRecord> {
        self.sent().records.clone()
    }

    /// One request and its answer, redirects included.
    pub async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let give_up = self.give_up(request.timeout);
        let mut hop = match self.first_hop(request) {
            Ok(hop) => hop,
            Err((method, url, error)) => return Err(self.begin(method, url)?.refused(error)),
        };
        for redirects in 0.. {
            let response = self.exchange(&hop, give_up).await?;
            let Some(location) = redirected(hop.method, &response) else { return Ok(response) };
            if redirects == limits::REDIRECTS_MAX {
                let most = limits::REDIRECTS_MAX;
                let error = HttpError::new(code::REFUSED, format!("it is redirected more than {most} times"));
                return Err(self.begin(hop.method.into(), hop.target.shown())?.refused(error));
            }
            match hop.target.join(&location) {
                Ok(target) => {
                    if !target.same_origin(&hop.target) {
                        hop.headers.drop_those_for_one_origin();
                    }
                    hop.target = target;
                }
                Err(error) => {
                    let error =
                        HttpError::new(code::REFUSED, format!("it is redirected to where it cannot go: {error}"));
                    return Err(self.begin(hop.method.into(), unread(&location))?.refused(error));
                }
            }
        }
        unreachable!("the loop ends at the last redirect")
    }

    /// Checks what can be checked of a request by itself. The error says what to tell of it: method and URL.
    fn first_hop(&self, request: HttpRequest) -> Result<Hop, (String, String, HttpError)> {
        let HttpRequest { method, url, headers, body, timeout: _ } = request;
        let target = Target::parse(&url).map_err(|error| HttpError::new(code::INVALID, format!("the URL: {error}")));
        let shown = target.as_ref().map_or_else(|_| unread(&url), Target::shown);
        let known = METHODS.into_iter().find(|known| known.eq_ignore_ascii_case(&method));
        let unknown = || HttpError::new(code::INVALID, format!("the method is not one of {METHODS:?}"));
        let hop = || {
            let (method, target) = (known.ok_or_else(unknown)?, target?);
            if body.len() > limits::REQUEST_BYTES_MAX {
                let (bytes, most) = (body.len(), limits::REQUEST_BYTES_MAX);
                return Err(HttpError::new(code::TOO_LARGE, format!("the body has {bytes} bytes, more than {most}")));
            }
            self.gate.check(method, &target)?;
            let mut headers = Headers::check(headers)?;
            if headers.ask_for_secrets() {
                if !target.is_https() && !self.gate.is_private(&target) {
                    let what = "a secret goes over https, or to a private host of the configuration";
                    return Err(HttpError::new(code::REFUSED, what));
                }
                headers.put_secrets_in(&self.gate.secrets, self.gate.network.secrets.as_deref())?;
            }
            if !is_safe(method) && !headers.has(IDEMPOTENCY_KEY) {
                headers.add(IDEMPOTENCY_KEY, self.key(method, &target, &body));
            }
            Ok(Hop { method, target, headers, body })
        };
        hop().map_err(|error| (known.unwrap_or("?").to_owned(), shown, error))
    }

    /// The key of the attempt for its first request, and for one that is repeated within the attempt the same as
    /// before. The second of several requests needs another: else its receiver would take it for the first.
    fn key(&self, method: &str, target: &Target, body: &[u8]) -> String {
        let mut hash = Sha256::new();
        for part in [method.as_bytes(), target.as_str().as_bytes(), body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let hash: [u8; 32] = hash.finalize().into();
        let keyed = &mut self.sent().keyed;
        let known = keyed.iter().position(|other| *other == hash);
        let number = known.unwrap_or_else(|| {
            keyed.push(hash);
            keyed.len() - 1
        });
        if number == 0 { self.idempotency_key.clone() } else { format!("{}.{}", self.idempotency_key, number + 1) }
    }

    fn give_up(&self, timeout: Option<Duration>) -> Timestamp {
        let timeout_us = timeout.map_or(i64::MAX, |timeout| i64::try_from(timeout.as_micros()).unwrap_or(i64::MAX));
        Timestamp(self.clock.now().0.saturating_add(timeout_us)).min(self.deadline)
    }

    async fn exchange(&self, hop: &Hop, give_up: Timestamp) -> Result<HttpResponse, HttpError> {
        let under_way = self.begin(hop.method.into(), hop.target.shown())?;
        // What a redirect leads to has to be granted as well.
        if let Err(error) = self.gate.check(hop.method, &hop.target) {
            return Err(under_way.refused(error));
        }
        let left_us = give_up.0.saturating_sub(self.clock.now().0);
        if left_us <= 0 {
            return Err(under_way.refused(HttpError::new(code::TIMEOUT, "no time was left to send it")));
        }
        let Some(client) = &self.gate.network.client else {
            return Err(under_way.refused(HttpError::new(code::REFUSED, "this host sends nothing")));
        };
        let rules = HttpRules {
            private: self.gate.is_private(&hop.target),
            response_bytes_max: limits::RESPONSE_BYTES_MAX,
            timeout: Duration::from_micros(left_us.unsigned_abs()),
        };
        let request = HttpRequest {
            method: hop.method.into(),
            url: hop.target.as_str().into(),
            headers: hop.headers.pairs(),
            body: hop.body.clone(),
            timeout: Some(rules.timeout),
        };
        match client.send(request, &rules).await.and_then(within_bounds) {
            Ok(response) => {
                under_way.answered(response.status);
                Ok(response)
            }
            Err(error) => Err(under_way.refused(error)),
        }
    }

    /// Notes an exchange before anything of it is done, so that one that is never answered is told as well.
    fn begin(&self, method: String, url: String) -> Result<UnderWay<'_>, HttpError> {
        let records = &mut self.sent().records;
        if records.len() >= limits::CALLS_OF_ATTEMPT_MAX {
            let most = limits::CALLS_OF_ATTEMPT_MAX;
            return Err(HttpError::new(code::REFUSED, format!("one attempt sends at most {most} requests")));
        }
        records.push(HttpRecord { method, url, status: None, error: Some(GIVEN_UP.into()), took_us: 0 });
        Ok(UnderWay { outgoing: self, number: records.len() - 1, began: self.clock.now() })
    }

    fn sent(&self) -> std::sync::MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands there until it is known better.
const GIVEN_UP: &str = "there was no answer when the attempt ended";

/// A record that is being written. Dropped, it says how long was waited in vain.
struct UnderWay<'a> {
    outgoing: &'a Outgoing,
    number: usize,
    began: Timestamp,
}

impl UnderWay<'_> {
    fn answered(self, status: u16) {
        self.write(|record| (record.status, record.error) = (Some(status), None));
    }

    fn refused(self, error: HttpError) -> HttpError {
        self.write(|record| record.error = Some(format!("{}: {}", error.code, error.message)));
        error
    }

    fn write(&self, change: impl FnOnce(&mut HttpRecord)) {
        change(&mut self.outgoing.sent().records[self.number]);
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let took_us = self.outgoing.clock.now().0.saturating_sub(self.began.0);
        self.write(|record| record.took_us = u64::try_from(took_us).unwrap_or(0));
    }
}

/// Whether it only asks.
fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

/// Where it goes on, with the same method and body.
fn redirected(method: &str, response: &HttpResponse) -> Option<String> {
    let same_method = match response.status {
        301..=303 => matches!(method, "GET" | "HEAD"),
        307 | 308 => true,
        _ => false,
    };
    let location = || response.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("location"));
    same_method.then(location).flatten().map(|(_, value)| value.clone())
}

fn within_bounds(response: HttpResponse) -> Result<HttpResponse, HttpError> {
    let headers: usize = response.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if response.body.len() > limits::RESPONSE_BYTES_MAX || headers > limits::HEADERS_BYTES_MAX {
        let (body, headers) = (limits::RESPONSE_BYTES_MAX, limits::HEADERS_BYTES_MAX);
        let message = format!("the answer has more than {body} bytes, or more than {headers} bytes of headers");
        return Err(HttpError::new(code::TOO_LARGE, message));
    }
    Ok(response)
}
