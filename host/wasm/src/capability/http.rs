//! `http`: what a step sends. The guest waits here without its thread, and its deadline does not run.

use std::sync::Arc;
use std::time::Duration;

use wasmill_core::saga::http::HttpRequest;

use crate::sandbox::Sandbox;
use crate::worlds::v0_1::bindings::wasmill::plugin::http::{Host, HttpError, Request, Response};

impl Host for Sandbox {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, HttpError>> {
        let http = Arc::clone(&self.step("http")?.http);
        let Request { method, url, headers, body, timeout_ms } = request;
        let timeout = timeout_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        let sent = http.send(HttpRequest { method, url, headers, body: body.into(), timeout }).await;
        let response =
            sent.map(|answer| Response { status: answer.status, headers: answer.headers, body: answer.body.into() });
        Ok(response.map_err(|error| HttpError { code: error.code.into(), message: error.message }))
    }
}
