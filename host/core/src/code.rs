//! The one list of error codes. The server maps each to a gRPC status, an HTTP status and a problem
//! type; `examples/errors/README.md` says for each what to do about it.

/// A stable, machine-readable error code. Codes are added, never changed or reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    InvalidArgument,
    MalformedBody,
    BodyTooLarge,
    EmptyAppend,
    AppendTooLarge,
    EventTooLarge,
    InvalidEvent,
    InvalidName,
    WrongExpectedOffset,
    AppendConditionFailed,
    EventIdConflict,
    StreamNotFound,
    StreamDeleted,
    StreamProtected,
    StreamConfigNotFound,
    GroupNotFound,
    GroupExists,
    SessionEnded,
    DeadLetterNotFound,
    DeadLetterOrder,
    NoQueue,
    ScheduleNotFound,
    ReplayNotFound,
    ReplayState,
    SagaNotFound,
    SagaState,
    SchemaNotFound,
    SchemaConflict,
    SchemaIncompatible,
    SchemaViolation,
    PluginNotFound,
    PluginRevisionNotFound,
    ProjectionNotFound,
    CollectionNotFound,
    DocumentNotFound,
    NotIndexed,
    GenerationNotFound,
    PositionNotReached,
    ProjectionPaused,
    ComponentInvalid,
    ComponentRefused,
    DescriptorInvalid,
    PluginFailed,
    PluginConflict,
    PluginInUse,
    LimitReached,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    UnsupportedMediaType,
    Overloaded,
    Draining,
    StorageUnavailable,
    OutcomeUnknown,
    StorageFailed,
    Internal,
}

impl Code {
    pub const ALL: &'static [Code] = &[
        Code::InvalidArgument,
        Code::MalformedBody,
        Code::BodyTooLarge,
        Code::EmptyAppend,
        Code::AppendTooLarge,
        Code::EventTooLarge,
        Code::InvalidEvent,
        Code::InvalidName,
        Code::WrongExpectedOffset,
        Code::AppendConditionFailed,
        Code::EventIdConflict,
        Code::StreamNotFound,
        Code::StreamDeleted,
        Code::StreamProtected,
        Code::StreamConfigNotFound,
        Code::GroupNotFound,
        Code::GroupExists,
        Code::SessionEnded,
        Code::DeadLetterNotFound,
        Code::DeadLetterOrder,
        Code::NoQueue,
        Code::ScheduleNotFound,
        Code::ReplayNotFound,
        Code::ReplayState,
        Code::SagaNotFound,
        Code::SagaState,
        Code::SchemaNotFound,
        Code::SchemaConflict,
        Code::SchemaIncompatible,
        Code::SchemaViolation,
        Code::PluginNotFound,
        Code::PluginRevisionNotFound,
        Code::ProjectionNotFound,
        Code::CollectionNotFound,
        Code::DocumentNotFound,
        Code::NotIndexed,
        Code::GenerationNotFound,
        Code::PositionNotReached,
        Code::ProjectionPaused,
        Code::ComponentInvalid,
        Code::ComponentRefused,
        Code::DescriptorInvalid,
        Code::PluginFailed,
        Code::PluginConflict,
        Code::PluginInUse,
        Code::LimitReached,
        Code::Unauthenticated,
        Code::Forbidden,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::UnsupportedMediaType,
        Code::Overloaded,
        Code::Draining,
        Code::StorageUnavailable,
        Code::OutcomeUnknown,
        Code::StorageFailed,
        Code::Internal,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidArgument => "invalid_argument",
            Code::MalformedBody => "malformed_body",
            Code::BodyTooLarge => "body_too_large",
            Code::EmptyAppend => "empty_append",
            Code::AppendTooLarge => "append_too_large",
            Code::EventTooLarge => "event_too_large",
            Code::InvalidEvent => "invalid_event",
            Code::InvalidName => "invalid_name",
            Code::WrongExpectedOffset => "wrong_expected_offset",
            Code::AppendConditionFailed => "append_condition_failed",
            Code::EventIdConflict => "event_id_conflict",
            Code::StreamNotFound => "stream_not_found",
            Code::StreamDeleted => "stream_deleted",
            Code::StreamProtected => "stream_protected",
            Code::StreamConfigNotFound => "stream_config_not_found",
            Code::GroupNotFound => "group_not_found",
            Code::GroupExists => "group_exists",
            Code::SessionEnded => "session_ended",
            Code::DeadLetterNotFound => "dead_letter_not_found",
            Code::DeadLetterOrder => "dead_letter_order",
            Code::NoQueue => "no_queue",
            Code::ScheduleNotFound => "schedule_not_found",
            Code::ReplayNotFound => "replay_not_found",
            Code::ReplayState => "replay_state",
            Code::SagaNotFound => "saga_not_found",
            Code::SagaState => "saga_state",
            Code::SchemaNotFound => "schema_not_found",
            Code::SchemaConflict => "schema_conflict",
            Code::SchemaIncompatible => "schema_incompatible",
            Code::SchemaViolation => "schema_violation",
            Code::PluginNotFound => "plugin_not_found",
            Code::PluginRevisionNotFound => "plugin_revision_not_found",
            Code::ProjectionNotFound => "projection_not_found",
            Code::CollectionNotFound => "collection_not_found",
            Code::DocumentNotFound => "document_not_found",
            Code::NotIndexed => "not_indexed",
            Code::GenerationNotFound => "generation_not_found",
            Code::PositionNotReached => "position_not_reached",
            Code::ProjectionPaused => "projection_paused",
            Code::ComponentInvalid => "component_invalid",
            Code::ComponentRefused => "component_refused",
            Code::DescriptorInvalid => "descriptor_invalid",
            Code::PluginFailed => "plugin_failed",
            Code::PluginConflict => "plugin_conflict",
            Code::PluginInUse => "plugin_in_use",
            Code::LimitReached => "limit_reached",
            Code::Unauthenticated => "unauthenticated",
            Code::Forbidden => "forbidden",
            Code::NotFound => "not_found",
            Code::MethodNotAllowed => "method_not_allowed",
            Code::UnsupportedMediaType => "unsupported_media_type",
            Code::Overloaded => "overloaded",
            Code::Draining => "draining",
            Code::StorageUnavailable => "storage_unavailable",
            Code::OutcomeUnknown => "outcome_unknown",
            Code::StorageFailed => "storage_failed",
            Code::Internal => "internal",
        }
    }

    /// Whether the same request may succeed later without being changed.
    pub fn retryable(self) -> bool {
        matches!(
            self,
            Code::PositionNotReached
                | Code::Overloaded
                | Code::Draining
                | Code::StorageUnavailable
                | Code::OutcomeUnknown
        )
    }
}

/// What every face shows of a failure: the code, a sentence, and one entry for each thing that is
/// wrong. It never carries the text of an inner error; the log prints the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub code: Code,
    pub message: String,
    pub details: Vec<Detail>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail {
    /// Where: a path into the request such as `events[3].key`, or a name such as a stream's.
    pub at: String,
    pub message: String,
    /// Facts for programs, such as `expected_offset` and `actual_offset`.
    pub facts: Vec<(&'static str, String)>,
}

impl Problem {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, at: impl Into<String>, message: impl Into<String>) -> Self {
        self.details.push(Detail { at: at.into(), message: message.into(), facts: Vec::new() });
        self
    }

    #[must_use]
    pub fn with_detail(mut self, detail: Detail) -> Self {
        self.details.push(detail);
        self
    }
}
