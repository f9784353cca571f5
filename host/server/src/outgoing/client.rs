//! One exchange.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use hyper::{Request, header};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::runtime::Handle;
use wasmill_core::saga::http::{HttpClient, HttpError, HttpRequest, HttpResponse, HttpRules, code};

use super::connect::{ConnectError, Connector, Trust};

/// Connections that wait for the next request to the same host.
const IDLE_PER_HOST_MAX: usize = 16;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The head of a response. Core allows half of it.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const AGENT: &str = concat!("wasmill/", env!("CARGO_PKG_VERSION"));

/// Keeps connections; those to private hosts apart from those whose addresses have to be public.
pub(crate) struct Client {
    public: legacy::Client<Connector, Full<Bytes>>,
    private: legacy::Client<Connector, Full<Bytes>>,
    runtime: Handle,
}

impl Client {
    /// Exchanges run on the runtime that this is called on, whoever waits for them: guests' threads do no I/O.
    pub(crate) fn new() -> Self {
        Self::trusting(Trust::default())
    }

    pub(super) fn trusting(trust: Trust) -> Self {
        let client = |private| {
            legacy::Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE_TIMEOUT)
                .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
                .http1_max_buf_size(HEAD_BYTES_MAX)
                .build(Connector::new(private, trust.clone()))
        };
        Self { public: client(false), private: client(true), runtime: Handle::current() }
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send(&self, request: HttpRequest, rules: &HttpRules) -> Result<HttpResponse, HttpError> {
        let request = outgoing(request)?;
        let client = if rules.private { &self.private } else { &self.public };
        let (client, rules) = (client.clone(), *rules);
        let exchange = async move {
            let timed_out = |_| {
                let waited = format!("there was no whole answer within {} ms", rules.timeout.as_millis());
                HttpError::new(code::TIMEOUT, waited)
            };
            tokio::time::timeout(rules.timeout, exchange(client, request, rules)).await.map_err(timed_out)?
        };
        let mut task = AbortOnDrop(self.runtime.spawn(exchange));
        (&mut task.0).await.unwrap_or_else(|_| Err(HttpError::new(code::BROKEN, "the host is stopping")))
    }
}

struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn outgoing(request: HttpRequest) -> Result<Request<Full<Bytes>>, HttpError> {
    let mut builder = Request::builder().method(request.method.as_str()).uri(&request.url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    if builder.headers_ref().is_some_and(|headers| !headers.contains_key(header::USER_AGENT)) {
        builder = builder.header(header::USER_AGENT, AGENT);
    }
    // Its text names what is wrong, and not the value.
    builder.body(Full::new(request.body)).map_err(|error| HttpError::new(code::INVALID, error.to_string()))
}

async fn exchange(
    client: legacy::Client<Connector, Full<Bytes>>,
    request: Request<Full<Bytes>>,
    rules: HttpRules,
) -> Result<HttpResponse, HttpError> {
    let response = client.request(request).await.map_err(|error| why(&error))?;
    let (head, body) = response.into_parts();
    let body = read(body, rules.response_bytes_max).await?;
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Ok(HttpResponse { status: head.status.as_u16(), headers, body })
}

fn why(error: &legacy::Error) -> HttpError {
    if !error.is_connect() {
        return HttpError::new(code::BROKEN, format!("the connection broke: {}", root(error)));
    }
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<ConnectError>() {
            let code = if error.is_refusal() { code::REFUSED } else { code::CONNECT };
            return HttpError::new(code, error.to_string());
        }
        cause = error.source();
    }
    HttpError::new(code::CONNECT, root(error))
}

fn root(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// Stops at the limit: whoever answers with more is not listened to any longer.
async fn read(mut body: Incoming, bytes_max: usize) -> Result<Bytes, HttpError> {
    let too_large = || HttpError::new(code::TOO_LARGE, format!("the answer has more than {bytes_max} bytes"));
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| HttpError::new(code::BROKEN, format!("the answer broke off: {}", root(&error))))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}
