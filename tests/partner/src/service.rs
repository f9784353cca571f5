//! Its face: HTTP/1.1, without TLS.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::fault::{Fault, Faults, Kind, Moment};
use crate::ledger::{Asked, Entry, Ledger, Operation};

const BODY_BYTES_MAX: usize = 1 << 20;

type Answer = Response<BoxBody<Bytes, Infallible>>;

pub(crate) async fn run(listener: TcpListener, ledger: Arc<Ledger>, faults: Arc<Faults>) {
    // They end with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (ledger, faults) = (Arc::clone(&ledger), Arc::clone(&faults));
                connections.spawn(async move {
                    let service = service_fn(|request| answer(request, &ledger, &faults));
                    // What goes wrong on a connection is its client's to see.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// An error hangs up.
async fn answer(request: Request<Incoming>, ledger: &Ledger, faults: &Faults) -> io::Result<Answer> {
    let (head, body) = request.into_parts();
    let key = head.headers.get("idempotency-key").and_then(|key| key.to_str().ok()).map(str::to_owned);
    let Ok(body) = Limited::new(body, BODY_BYTES_MAX).collect().await else {
        return Ok(told(StatusCode::PAYLOAD_TOO_LARGE, &json!({ "error": "the body is too large" })));
    };
    let body = body.to_bytes();
    let path = head.uri.path().trim_start_matches('/');
    match (&head.method, path.split_once('/')) {
        (&Method::GET, None) if path == "balance" => Ok(told(StatusCode::OK, &json!(ledger.balance()))),
        (&Method::GET, Some(("orders", order))) => Ok(told(StatusCode::OK, &json!(ledger.standing(order)))),
        (&Method::PUT, None) if path == "fault" => Ok(match serde_json::from_slice::<Fault>(&body) {
            Ok(fault) => {
                faults.tell(fault);
                told(StatusCode::OK, &json!({}))
            }
            Err(error) => told(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() })),
        }),
        (&Method::POST, None) => match Operation::ALL.into_iter().find(|operation| operation.as_str() == path) {
            Some(operation) => order(operation, key, &body, (ledger, faults)).await,
            None => Ok(not_found()),
        },
        _ => Ok(not_found()),
    }
}

fn not_found() -> Answer {
    told(StatusCode::NOT_FOUND, &json!({ "error": "there is no such thing here" }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: String,
    #[serde(default)]
    items: Vec<Value>,
    #[serde(default)]
    amount: u64,
    #[serde(default)]
    simulate_payment_failure: bool,
}

async fn order(
    operation: Operation,
    key: Option<String>,
    body: &[u8],
    (ledger, faults): (&Ledger, &Faults),
) -> io::Result<Answer> {
    let order: Order = match serde_json::from_slice(body) {
        Ok(order) => order,
        Err(error) => return Ok(told(StatusCode::BAD_REQUEST, &json!({ "error": error.to_string() }))),
    };
    let Some(idempotency_key) = key else {
        return Ok(told(StatusCode::BAD_REQUEST, &json!({ "error": "the header idempotency-key is missing" })));
    };
    let fault = faults.befalls(operation, &order.order_id);
    if let Some((Moment::BeforeEffect, kind)) = &fault {
        return befall(kind).await;
    }
    let entry = ledger.answer(Asked {
        operation,
        order_id: order.order_id,
        idempotency_key,
        items: order.items.len() as u64,
        amount: order.amount,
        declined: order.simulate_payment_failure,
    })?;
    match &fault {
        Some((_, kind)) => befall(kind).await,
        None => Ok(answered(&entry)),
    }
}

fn answered(entry: &Entry) -> Answer {
    let status = StatusCode::from_u16(entry.status).expect("the ledger gives those of HTTP");
    let reference = format!("{}-{}", entry.operation.as_str(), entry.order_id);
    let body = match entry.status {
        402 => json!({ "error": "the card was declined" }),
        409 => json!({ "error": "it is done already, was undone, or lacks what comes before it" }),
        _ => json!({ "reference": reference, "effect": entry.effect }),
    };
    told(status, &body)
}

async fn befall(kind: &Kind) -> io::Result<Answer> {
    match kind {
        Kind::Status { status } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Ok(told(status, &json!({ "error": "it was told to" })))
        }
        Kind::Hang => std::future::pending().await,
        Kind::HangUp => Err(io::ErrorKind::ConnectionReset.into()),
        Kind::Answer { bytes } => Ok(Response::new(Zeros(*bytes).boxed())),
        Kind::Redirect { to } => {
            let mut answer = told(StatusCode::TEMPORARY_REDIRECT, &json!({}));
            if let Ok(to) = to.parse() {
                answer.headers_mut().insert(header::LOCATION, to);
            }
            Ok(answer)
        }
    }
}

fn told(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body.to_string())).boxed());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

/// So many bytes, made as they are sent. Their number is not said beforehand.
struct Zeros(u64);

impl Body for Zeros {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static CHUNK: [u8; 64 * 1024] = [b'0'; 64 * 1024];
        let bytes = self.0.min(CHUNK.len() as u64);
        self.0 -= bytes;
        let chunk = Bytes::from_static(&CHUNK[..usize::try_from(bytes).expect("it is at most a chunk")]);
        std::task::Poll::Ready((bytes > 0).then(|| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
