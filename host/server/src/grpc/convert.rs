//! The one place where messages and core's types meet.

use std::time::Duration;

use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::{DEFAULT_CONTENT_TYPE, NewEvent, Offset, Origin, Position};
use wasmill_core::log::filter::Filter;
use wasmill_core::log::publish::Append;
use wasmill_core::name::Pattern;
use wasmill_core::plugin::log::LogLine;
use wasmill_core::projection::generation::{FailureInfo, Phase, Progress};
use wasmill_core::projection::query::{BuildStatus, CollectionStatus, ProjectionStatus, WaitFor};
use wasmill_core::record::{PluginRecord, StreamInfo, StreamState};
use wasmill_core::store::{Appended, Direction, Document, Documents, Expected};

use crate::app::complete;
use crate::convert::Term;
use crate::pages::{Bound, Range};
use crate::{errors, proto};

/// Converts an append; `defaults` stands in for what its events do not say of their origin.
pub(crate) fn append(request: proto::AppendRequest, defaults: &Origin) -> Result<Append, Problem> {
    let mut problem = Problem::new(Code::InvalidEvent, "events break the rules; nothing was appended");
    let mut events = Vec::with_capacity(request.events.len());
    for (index, event) in request.events.into_iter().enumerate() {
        match event_id(&event.id) {
            Ok(id) => events.push(new_event(id, event, defaults)),
            Err(message) => problem = problem.with(format!("events[{index}].id"), message),
        }
    }
    if !problem.details.is_empty() {
        return Err(problem);
    }
    Ok(Append { stream: request.stream, expected: expected(request.expected)?, events })
}

/// An empty id is made here. Ids are read in their one canonical form, so that the same text comes back.
fn event_id(text: &str) -> Result<Uuid, String> {
    if text.is_empty() {
        return Ok(Uuid::now_v7());
    }
    Uuid::try_parse(text).map_err(|_| format!("`{}` is not a UUID", text.escape_debug()))
}

fn new_event(id: Uuid, event: proto::NewEvent, defaults: &Origin) -> NewEvent {
    let mut origin = Origin {
        workflow_id: event.workflow_id,
        correlation_id: event.correlation_id,
        causation_id: event.causation_id,
        traceparent: event.traceparent,
    };
    complete(&mut origin, defaults);
    NewEvent {
        id,
        event_type: event.r#type,
        schema_version: event.schema_version,
        key: event.key,
        time: event.time_us.map(Timestamp),
        content_type: Some(event.content_type).filter(|text| !text.is_empty() && text != DEFAULT_CONTENT_TYPE),
        data: event.data,
        tags: event.tags,
        headers: event.headers.into_iter().collect(),
        origin,
    }
}

fn expected(expected: Option<proto::Expected>) -> Result<Expected, Problem> {
    use proto::expected::Kind;
    let Some(expected) = expected else { return Ok(Expected::Any) };
    let refuse = |message: &str| Err(Problem::new(Code::InvalidArgument, message).with("expected", message));
    match expected.kind {
        None => refuse("it is there but says nothing; leave it out for any"),
        Some(Kind::NoStream(true)) => Ok(Expected::NoStream),
        Some(Kind::Exists(true)) => Ok(Expected::Exists),
        Some(Kind::NoStream(false) | Kind::Exists(false)) => refuse("it is set to false; leave it out for any"),
        Some(Kind::Offset(offset)) => Ok(Expected::Exactly(Offset(offset))),
    }
}

pub(crate) fn appended(appended: &Appended) -> proto::AppendResponse {
    proto::AppendResponse {
        first_offset: appended.first_offset.0,
        last_offset: appended.last_offset().0,
        first_position: appended.first_position.0,
        last_position: appended.last_position().0,
        recorded_at_us: appended.recorded_at.0,
        duplicate: appended.duplicate,
    }
}

/// A problem inside an answer rather than as a status.
pub(crate) fn problem(problem: Problem) -> proto::Problem {
    let detail = |detail: wasmill_core::code::Detail| proto::ProblemDetail {
        at: detail.at,
        message: detail.message,
        facts: detail.facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    };
    proto::Problem {
        code: problem.code.as_str().into(),
        retryable: problem.code.retryable(),
        message: problem.message,
        details: problem.details.into_iter().map(detail).collect(),
    }
}

fn direction(direction: i32) -> Result<Direction, Problem> {
    match proto::Direction::try_from(direction) {
        Ok(proto::Direction::Unspecified | proto::Direction::Forward) => Ok(Direction::Forward),
        Ok(proto::Direction::Backward) => Ok(Direction::Backward),
        Err(_) => {
            let message = format!("{direction} is not a direction: 1 is forward, 2 is backward");
            Err(Problem::new(Code::InvalidArgument, &message).with("direction", message))
        }
    }
}

pub(crate) fn filter(filter: Option<proto::Filter>) -> Result<Filter, Problem> {
    let terms: Vec<Term> = filter.map_or_else(Vec::new, |filter| filter.terms).into_iter().map(term).collect();
    let mut problem = Problem::new(Code::InvalidArgument, "the filter has entries that are not allowed");
    let at = |term, list: &str, index| format!("filter.terms[{term}].{list}[{index}]");
    let filter = crate::convert::filter(&terms, "filter", at, &mut problem.details);
    if problem.details.is_empty() { Ok(filter) } else { Err(problem) }
}

fn term(term: proto::FilterTerm) -> Term {
    let proto::FilterTerm { streams, types, keys, tags, correlation_ids } = term;
    Term { streams, types, keys, tags, correlation_ids }
}

/// Where a read begins or ends: at a place or a time, of which a request may name one. `names` are those
/// of the two fields.
pub(crate) fn bound<T>(
    place: Option<u64>,
    time_us: Option<i64>,
    names: [&str; 2],
    typed: fn(u64) -> T,
) -> Result<Option<Bound<T>>, Problem> {
    match (place, time_us) {
        (Some(_), Some(_)) => {
            let message = format!("there is {} as well; give one of the two", names[0]);
            Err(Problem::new(Code::InvalidArgument, "it is not clear what is to be read").with(names[1], message))
        }
        (Some(place), None) => Ok(Some(Bound::At(typed(place)))),
        (None, time_us) => Ok(time_us.map(|time_us| Bound::Time(Timestamp(time_us)))),
    }
}

pub(crate) fn stream_range(request: &proto::ReadStreamRequest) -> Result<Range<Offset>, Problem> {
    Ok(Range {
        from: bound(request.from_offset, request.from_time_us, ["from_offset", "from_time_us"], Offset)?,
        until: bound(request.until_offset, request.until_time_us, ["until_offset", "until_time_us"], Offset)?,
        direction: direction(request.direction)?,
        limit: all_if_zero(request.limit),
    })
}

pub(crate) fn log_range(request: &proto::ReadLogRequest) -> Result<Range<Position>, Problem> {
    Ok(Range {
        from: bound(request.from_position, request.from_time_us, ["from_position", "from_time_us"], Position)?,
        until: bound(request.until_position, request.until_time_us, ["until_position", "until_time_us"], Position)?,
        direction: direction(request.direction)?,
        limit: all_if_zero(request.limit),
    })
}

fn all_if_zero(limit: u64) -> Option<u64> {
    Some(limit).filter(|limit| *limit > 0)
}

/// An empty glob stands for all.
pub(crate) fn pattern(glob: &str) -> Result<Option<Pattern>, Problem> {
    if glob.is_empty() {
        return Ok(None);
    }
    let refuse = |error: wasmill_core::name::InvalidName| {
        Problem::new(Code::InvalidArgument, format!("pattern: {error}")).with("pattern", error.to_string())
    };
    Pattern::new(glob).map(Some).map_err(refuse)
}

pub(crate) fn stream(info: &StreamInfo) -> proto::Stream {
    proto::Stream {
        name: info.name.to_string(),
        first_offset: info.oldest().0,
        next_offset: info.next_offset.0,
        bytes: info.bytes,
        created_at_us: info.created_at.0,
        last_recorded_at_us: info.last_recorded_at.0,
        last_position: info.last_position.0,
        state: stream_state(info.state).into(),
        length: info.event_count(),
        first_recorded_at_us: info.first_recorded_at.0,
    }
}

fn stream_state(state: StreamState) -> proto::StreamState {
    match state {
        StreamState::Live => proto::StreamState::Live,
        StreamState::Deleted => proto::StreamState::Deleted,
        StreamState::Tombstoned => proto::StreamState::Tombstoned,
    }
}

/// How many entries of a list are wanted: 0 stands for 100.
pub(crate) fn list_limit(limit: u32, max: usize) -> Result<usize, Problem> {
    match limit as usize {
        0 => Ok(100),
        limit if limit <= max => Ok(limit),
        limit => {
            let message = format!("{limit} is out of range: 1 to {max}, or 0 for 100");
            Err(Problem::new(Code::InvalidArgument, &message).with("limit", message))
        }
    }
}

pub(crate) fn plugin(plugin: PluginRecord) -> proto::Plugin {
    // The author's own version stands in the descriptor.
    let version = |descriptor: &str| -> Option<String> {
        let descriptor: serde_json::Value = serde_json::from_str(descriptor).ok()?;
        Some(descriptor.get("version")?.as_str()?.to_owned())
    };
    proto::Plugin {
        kind: plugin.kind.as_str().into(),
        version: version(&plugin.current.descriptor).unwrap_or_default(),
        revision: plugin.current.number,
        sha256: plugin.current.sha256,
        descriptor_json: plugin.current.descriptor,
        created_at_us: plugin.created_at.0,
        deployed_at_us: plugin.current.deployed_at.0,
        name: plugin.name,
    }
}

pub(crate) fn log_line(line: LogLine) -> proto::PluginLogLine {
    proto::PluginLogLine {
        number: line.number,
        time_us: line.time.0,
        level: line.level.as_str().into(),
        message: line.message,
        fields: line.fields.into_iter().collect(),
    }
}

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
    let Progress { next, phase, failure, folded, seen_at: _ } = status.progress;
    let collection =
        |CollectionStatus { name, description, documents }| proto::CollectionInfo { name, description, documents };
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

fn projection_state(phase: Phase) -> proto::ProjectionState {
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

/// Logs and shows an error of core inside an answer.
pub(crate) fn reported<E: std::error::Error + Into<Problem>>(error: E) -> proto::Problem {
    problem(errors::report(error))
}
