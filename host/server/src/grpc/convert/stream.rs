//! Facts and configurations of streams.

use wasmill_core::code::{Code, Problem};
use wasmill_core::record::{StreamInfo, StreamState};
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::{Explained, Subject};
use wasmill_core::stream::lifecycle::DeleteMode;

use crate::{proto, stream_configs};

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

pub(crate) fn delete_mode(mode: i32) -> Result<DeleteMode, Problem> {
    match proto::DeleteMode::try_from(mode) {
        Ok(proto::DeleteMode::Unspecified | proto::DeleteMode::Soft) => Ok(DeleteMode::Soft),
        Ok(proto::DeleteMode::Hard) => Ok(DeleteMode::Hard),
        Err(_) => {
            let message = format!("{mode} is not a mode: 1 is soft, 2 is hard");
            Err(Problem::new(Code::InvalidArgument, &message).with("mode", message))
        }
    }
}

pub(crate) fn config_subject(subject: Option<proto::StreamConfigSubject>) -> Result<Subject, Problem> {
    use proto::stream_config_subject::Kind;
    match subject.and_then(|subject| subject.kind) {
        Some(Kind::Stream(name)) => stream_configs::of_stream(&name),
        Some(Kind::Pattern(glob)) => stream_configs::of_pattern(&glob),
        None => {
            let message = "it is missing: give a stream or a pattern";
            Err(Problem::new(Code::InvalidArgument, "it is not said which configuration").with("subject", message))
        }
    }
}

fn subject(subject: &Subject) -> proto::StreamConfigSubject {
    use proto::stream_config_subject::Kind;
    let kind = match subject {
        Subject::Stream(stream) => Kind::Stream(stream.to_string()),
        Subject::Pattern(pattern) => Kind::Pattern(pattern.as_str().to_owned()),
    };
    proto::StreamConfigSubject { kind: Some(kind) }
}

pub(crate) fn stream_config(of: &Subject, config: &StreamConfig) -> proto::StreamConfig {
    proto::StreamConfig { subject: Some(subject(of)), config_json: config.to_json() }
}

pub(crate) fn explained(config: Option<proto::StreamConfig>, explained: &Explained) -> proto::GetStreamConfigResponse {
    let origins = explained.origins.iter().map(|(field, by)| ((*field).to_owned(), subject(by)));
    let effective_json = explained.effective.config().to_json();
    proto::GetStreamConfigResponse { config, effective_json, origins: origins.collect() }
}
