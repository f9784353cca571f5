//! What every handler shares.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use tokio_util::sync::CancellationToken;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Origin;
use wasmill_core::host::Host;
use wasmill_core::principal::Principal;

use crate::access::Access;
use crate::hub;
use crate::push::Push;

/// The host as its faces see it. Shared, never copied.
pub(crate) struct App {
    pub(crate) host: Arc<Host>,
    pub(crate) access: Access,
    /// Cancelled when the host begins to stop: whatever would go on for ever ends then.
    pub(crate) drain: CancellationToken,
    pub(crate) started: Instant,
    /// Connections over which events are pushed.
    pub(crate) push: Push,
    /// Those of the SignalR hub that have a name.
    pub(crate) hub: hub::Registry,
    pub(crate) limits: GuestLimits,
}

/// What a plugin has of the host unless its settings say otherwise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuestLimits {
    pub(crate) call_deadline: Duration,
    pub(crate) memory_bytes: u64,
}

impl App {
    /// Ready from the first request on (nobody is let in earlier) until the drain begins.
    pub(crate) fn is_ready(&self) -> bool {
        !self.drain.is_cancelled()
    }

    pub(crate) fn draining() -> Problem {
        Problem::new(Code::Draining, "the host is stopping; go on from where you were when it is back")
    }
}

/// Who asked. An extension of every request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
}

pub(crate) const CORRELATION_HEADER: &str = "x-correlation-id";

/// What a request says of the work that its events belong to, for events that do not say it themselves.
pub(crate) fn origin_of(headers: &HeaderMap) -> Result<Origin, Problem> {
    let text = |name: &'static str| match headers.get(name).map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value.to_owned())),
        Some(Err(_)) => {
            Err(Problem::new(Code::InvalidArgument, "a header is not visible ASCII").with(name, "not ASCII"))
        }
    };
    Ok(Origin {
        workflow_id: text("x-workflow-id")?,
        correlation_id: text(CORRELATION_HEADER)?,
        causation_id: text("x-causation-id")?,
        traceparent: text("traceparent")?,
    })
}

/// Fills what an event leaves open.
pub(crate) fn complete(origin: &mut Origin, defaults: &Origin) {
    let fill = |own: &mut Option<String>, default: &Option<String>| {
        if own.is_none() {
            own.clone_from(default);
        }
    };
    fill(&mut origin.workflow_id, &defaults.workflow_id);
    fill(&mut origin.correlation_id, &defaults.correlation_id);
    fill(&mut origin.causation_id, &defaults.causation_id);
    fill(&mut origin.traceparent, &defaults.traceparent);
}
