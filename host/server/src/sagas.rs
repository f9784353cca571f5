//! Sagas, as both faces see them.

use std::time::Duration;

use uuid::Uuid;
use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::saga as limits;
use wasmill_core::principal::Principal;
use wasmill_core::saga::fact::Order;
use wasmill_core::saga::view::SagaStatus;
use wasmill_core::saga::{Command, EVENTS, SagaEvent, StartSaga, Started};
use wasmill_core::store::Appended;
use wasmill_core::stream::Access;

use crate::app::App;
use crate::errors::report;
use crate::rights;

/// Sagas are named by UUIDs.
pub(crate) fn id(text: &str) -> Result<Uuid, Problem> {
    let what = format!("`{}` is not the id of a saga, which is a UUID", text.escape_debug());
    Uuid::try_parse(text).map_err(|_| Problem::new(Code::SagaNotFound, what))
}

/// A wait as callers give it, in milliseconds; `at` is what they call it. None for 0.
pub(crate) fn wait_time(wait_ms: u64, at: &str) -> Result<Option<Duration>, Problem> {
    if wait_ms > limits::WAIT_MS_MAX {
        let message = format!("{wait_ms} is out of range: 0 to {}", limits::WAIT_MS_MAX);
        return Err(Problem::new(Code::InvalidArgument, &message).with(at, message));
    }
    Ok(Some(Duration::from_millis(wait_ms)).filter(|wait| !wait.is_zero()))
}

/// Starts one, and waits for its end if that is asked for. A host that stops ends the wait: what was started goes on
/// when it is back.
pub(crate) async fn start(
    app: &App,
    start: StartSaga,
    wait: Option<Duration>,
) -> Result<(Started, Option<SagaStatus>), Problem> {
    let sagas = &app.host.sagas;
    let Some(wait) = wait else { return Ok((sagas.start(start).await.map_err(report)?, None)) };
    let (started, watch) = sagas.start_watched(start).await.map_err(report)?;
    let status = tokio::select! {
        biased;
        status = watch.wait(wait) => status,
        () = app.drain.cancelled() => sagas.status(started.id).await,
    };
    Ok((started, Some(status.map_err(report)?)))
}

/// How a saga is, or how it is after the wait.
pub(crate) async fn status(app: &App, id: Uuid, wait: Option<Duration>) -> Result<SagaStatus, Problem> {
    let sagas = &app.host.sagas;
    let Some(wait) = wait else { return sagas.status(id).await.map_err(report) };
    tokio::select! {
        biased;
        status = sagas.wait(id, wait) => status.map_err(report),
        () = app.drain.cancelled() => sagas.status(id).await.map_err(report),
    }
}

/// The saga of a type and a correlation id.
pub(crate) async fn find(app: &App, saga_type: &str, correlation_id: &str) -> Result<SagaStatus, Problem> {
    app.host.sagas.find(saga_type, correlation_id).await.map_err(report)
}

/// Does what a person asks for. Their name is that of the principal: nobody gives orders in another's.
pub(crate) async fn order(
    app: &App,
    id: Uuid,
    command: Command,
    (by, note): (&Principal, String),
) -> Result<SagaStatus, Problem> {
    let order = Order { by: by.as_str().into(), note };
    app.host.sagas.command(id, &command, order).await.map_err(report)
}

/// Appends an event for a saga, which needs what publishing needs.
pub(crate) async fn send(app: &App, id: Uuid, event: SagaEvent) -> Result<Appended, Problem> {
    let stream = event.stream.as_deref().unwrap_or(EVENTS);
    rights::may(&app.host.stream_configs, [(stream, Access::Publish)])?;
    let sent = app.host.sagas.send(id, event).await.map_err(report);
    sent.map_err(|mut problem| {
        // Its event is not one of several.
        for detail in &mut problem.details {
            if let Some(field) = detail.at.strip_prefix("events[0].") {
                detail.at = field.to_owned();
            }
        }
        problem
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_bounded_and_none_is_none() {
        assert_eq!(wait_time(0, "waitMs").unwrap(), None);
        assert_eq!(wait_time(60_000, "waitMs").unwrap(), Some(Duration::from_secs(60)));
        let refused = wait_time(60_001, "waitMs").unwrap_err();
        assert_eq!((refused.code, refused.details[0].at.as_str()), (Code::InvalidArgument, "waitMs"));
    }

    #[test]
    fn what_is_no_uuid_names_no_saga() {
        assert_eq!(id("order-7").unwrap_err().code, Code::SagaNotFound);
        assert!(id("01a200bd-5549-71b2-b52e-7574f8722073").is_ok());
    }
}
