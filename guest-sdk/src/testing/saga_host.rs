//! What the host gives a saga beside what every plugin has, kept in memory.

use std::collections::BTreeMap;
use std::mem;

use super::host::with;
use crate::http::{Error, Request, Response};

pub(super) type Answer = dyn FnMut(&Request) -> Result<Response, Error>;

#[derive(Default)]
pub(super) struct SagaMemory {
    pub(super) data: BTreeMap<String, Vec<u8>>,
    /// Of the steps that are completed.
    pub(super) outputs: BTreeMap<String, Vec<u8>>,
    pub(super) answer: Option<Box<Answer>>,
    pub(super) sent: Vec<Request>,
    /// Of the running attempt.
    pub(super) idempotency_key: String,
}

pub(crate) fn data_get(key: &str) -> Option<Vec<u8>> {
    with(|memory| memory.saga.data.get(key).cloned())
}

pub(crate) fn data_put(key: &str, value: Vec<u8>) {
    with(|memory| drop(memory.saga.data.insert(key.to_owned(), value)));
}

pub(crate) fn data_remove(key: &str) {
    with(|memory| drop(memory.saga.data.remove(key)));
}

pub(crate) fn output_of(step: &str) -> Option<Vec<u8>> {
    with(|memory| memory.saga.outputs.get(step).cloned())
}

/// Adds the idempotency key as a host does, and asks the test. Without one nobody answers.
pub(crate) fn send(mut request: Request) -> Result<Response, Error> {
    let answer = with(|memory| {
        let asks = matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
        let has_key = request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
        if !asks && !has_key {
            request.headers.push(("idempotency-key".to_owned(), memory.saga.idempotency_key.clone()));
        }
        memory.saga.sent.push(request.clone());
        mem::take(&mut memory.saga.answer)
    });
    let Some(mut answer) = answer else {
        let message = "nobody answers: see SagaHarness::answering".to_owned();
        return Err(Error { code: "http.connect".to_owned(), message });
    };
    let answered = answer(&request);
    with(|memory| memory.saga.answer = Some(answer));
    answered
}
