//! Projections and their documents.

use std::time::Duration;

use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Position;
use wasmill_core::projection::generation::{FailureInfo, Phase, Progress};
use wasmill_core::projection::query::{BuildStatus, CollectionStatus, ProjectionStatus, WaitFor};
use wasmill_core::store::{Document, Documents};

use crate::proto;

pub(crate) fn wait_for(wait_for: Option<proto::WaitFor>) -> Result<Option<WaitFor>, Problem> {
    let Some(proto::WaitFor { position, timeout_ms }) = wait_for else { return Ok(None) };
    let timeout = match timeout_ms {
        0 => WaitFor::TIMEOUT_DEFAULT,
        ms => Duration::from_millis(ms.into()),
    };
    if timeout > WaitFor::TIMEOUT_MAX {
        let message = format!("{timeout_ms} ms is out of range: 1 to 60000, or 0 for 10000");
        return Err(Problem::new(Code::InvalidArgument, &message).with("wait_for.timeout_ms", message));
    }
    Ok(Some(WaitFor { position: Position(position), timeout }))
}

pub(crate) fn projection(status: ProjectionStatus) -> proto::Projection {
    let Progress { next, phase, failure, folded, seen_at: _, last_failure: _, rate: _, parked_events: _ } =
        status.progress;
    let collection = |CollectionStatus { name, description, indexes, documents }| proto::CollectionInfo {
        name,
        description,
        documents,
        indexes,
    };
    proto::Projection {
        name: status.name,
        revision: status.revision,
        version: status.version,
        state: projection_state(phase).into(),
        next_position: next.0,
        log_next_position: status.log_next_position.0,
        events_folded: folded,
        failure: failure.map(projection_failure),
        collections: status.collections.into_iter().map(collection).collect(),
        build: status.build.map(|BuildStatus { generation, revision: _, progress }| proto::ProjectionBuild {
            generation: generation.0,
            next_position: progress.next.0,
            state: projection_state(progress.phase).into(),
            failure: progress.failure.map(projection_failure),
        }),
        generation: status.generation.0,
    }
}

pub(super) fn projection_state(phase: Phase) -> proto::ProjectionState {
    match phase {
        Phase::CatchingUp => proto::ProjectionState::CatchingUp,
        Phase::Live => proto::ProjectionState::Live,
        Phase::Retrying => proto::ProjectionState::Retrying,
        Phase::Paused => proto::ProjectionState::Paused,
        Phase::Stopped => proto::ProjectionState::Stopped,
    }
}

fn projection_failure(failure: FailureInfo) -> proto::ProjectionFailure {
    let FailureInfo { reason, position, time, attempts } = failure;
    proto::ProjectionFailure { reason, position: position.map(|p| p.0), time_us: time.0, attempts }
}

/// A page of documents, and the key after which the next one begins.
pub(crate) fn documents(page: Documents) -> (Vec<proto::Document>, Option<String>) {
    let next_after = page.documents.last().filter(|_| page.more).map(|last| last.key.clone());
    let documents = page.documents.into_iter().map(|Document { key, value }| proto::Document { key, value });
    (documents.collect(), next_after)
}
