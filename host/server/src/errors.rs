//! The one table of errors: what each code of core means to gRPC, to HTTP and to a person.

use axum::http::StatusCode;
use wasmill_core::code::{Code, Problem};

/// How a code shows itself.
#[derive(Clone, Copy, Debug)]
pub struct Face {
    pub grpc: tonic::Code,
    pub http: StatusCode,
    /// A few words, the same for every occurrence.
    pub title: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

/// How long a client had better wait before it repeats a retryable request.
pub const RETRY_AFTER_MS: u64 = 500;

/// Logs a failure that is the host's own, with its causes, and returns what callers may see of it.
pub fn report<E>(error: E) -> Problem
where
    E: std::error::Error + Into<Problem>,
{
    let chain = wasmill_core::tasks::chain(&error);
    let problem: Problem = error.into();
    match problem.code {
        Code::Internal | Code::StorageUnavailable | Code::OutcomeUnknown | Code::StorageFailed => {
            let (event_id, code) = (wasmill_core::log_id::REQUEST_FAILED, problem.code.as_str());
            tracing::error!(event_id, code, error = chain, "a request failed");
        }
        code => {
            let (event_id, code) = (wasmill_core::log_id::REQUEST_REFUSED, code.as_str());
            tracing::debug!(event_id, code, error = chain, "a request was refused");
        }
    }
    problem
}

/// The codes that a program can meet, by their names.
pub fn by_name(name: &str) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| code.as_str() == name)
}

pub fn face(code: Code) -> Face {
    use StatusCode as Http;
    use tonic::Code as Grpc;
    let face = |grpc, http, title, advice| Face { grpc, http, title, advice };
    match code {
        Code::InvalidArgument => face(
            Grpc::InvalidArgument,
            Http::BAD_REQUEST,
            "A value is not allowed",
            "Each detail names a field or parameter and what it may hold. Correct it and send again.",
        ),
        Code::MalformedBody => face(
            Grpc::InvalidArgument,
            Http::BAD_REQUEST,
            "The body cannot be read",
            "It is not the JSON or protobuf that was announced, or it ended early. For JSON the message gives line and \
             column.",
        ),
        Code::BodyTooLarge => face(
            Grpc::ResourceExhausted,
            Http::PAYLOAD_TOO_LARGE,
            "The body is too large",
            "Send fewer events in one append, or a smaller component. The message gives the limit.",
        ),
        Code::EmptyAppend => {
            face(Grpc::InvalidArgument, Http::BAD_REQUEST, "Nothing to append", "Give at least one event.")
        }
        Code::AppendTooLarge => face(
            Grpc::InvalidArgument,
            Http::PAYLOAD_TOO_LARGE,
            "The append is too large",
            "An append is one transaction. Split the events over several appends, or the gRPC call AppendBulk.",
        ),
        Code::EventTooLarge => face(
            Grpc::InvalidArgument,
            Http::PAYLOAD_TOO_LARGE,
            "An event is too large",
            "Keep large payloads in a store of their own and put a reference into the event.",
        ),
        Code::InvalidEvent => face(
            Grpc::InvalidArgument,
            Http::BAD_REQUEST,
            "An event breaks the rules",
            "Each detail names the event by its index, the field, and the rule. Nothing of the append was stored.",
        ),
        Code::InvalidName => face(
            Grpc::InvalidArgument,
            Http::BAD_REQUEST,
            "A name is not allowed",
            "Names have 1 to 200 bytes of UTF-8 without control characters, and do not begin with `$`.",
        ),
        Code::WrongExpectedOffset => face(
            Grpc::FailedPrecondition,
            Http::PRECONDITION_FAILED,
            "The stream is not where it was expected",
            "Someone else appended first. Read the stream from the actual offset on, decide anew, and append with the \
             new expectation. Repeating the same request cannot succeed.",
        ),
        Code::AppendConditionFailed => face(
            Grpc::FailedPrecondition,
            Http::PRECONDITION_FAILED,
            "An append condition does not hold",
            "An event that matches the condition's query was appended after the position that you knew of. Each detail \
             gives its position. Read on from there, decide anew, and append with the new position.",
        ),
        Code::EventIdConflict => face(
            Grpc::AlreadyExists,
            Http::CONFLICT,
            "An event id is taken",
            "An id stands for one event for ever. If this was a repetition, send the very same events to the same \
             stream; if the events are new, give them new ids.",
        ),
        Code::StreamNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "There is no such stream",
            "A stream exists from its first event on. Check the name, or list the streams.",
        ),
        Code::StreamDeleted => face(
            Grpc::FailedPrecondition,
            Http::GONE,
            "The stream was deleted",
            "A stream that was deleted comes back with its next append, and its offsets go on; one that was deleted for \
             good takes nothing more: use another name.",
        ),
        Code::StreamProtected => face(
            Grpc::FailedPrecondition,
            Http::CONFLICT,
            "The stream is protected by its configuration",
            "Its configuration does not allow that it is deleted or truncated like this, as the message says. Change \
             `deletion` in the configuration of the stream or of the pattern that says so.",
        ),
        Code::StreamConfigNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "Nothing is configured for this stream or pattern",
            "`wasmill stream config list` shows what is; `wasmill stream config get STREAM` says what holds for a stream.",
        ),
        Code::GroupNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "There is no such consumer group",
            "Check the name in `wasmill group list`, or make it with `wasmill group create`.",
        ),
        Code::GroupExists => face(
            Grpc::AlreadyExists,
            Http::CONFLICT,
            "A consumer group of this name exists",
            "It has another configuration. Choose another name, or change its configuration.",
        ),
        Code::SessionEnded => face(
            Grpc::FailedPrecondition,
            Http::CONFLICT,
            "The member's session has ended",
            "It was not heard of in time, has left, or has joined anew. What it had was handed to others. Join again.",
        ),
        Code::DeadLetterNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "There is no such dead letter",
            "It was replayed or removed already. `wasmill deadletter list GROUP` shows those that there are.",
        ),
        Code::DeadLetterOrder => face(
            Grpc::FailedPrecondition,
            Http::CONFLICT,
            "An earlier dead letter of the same key comes first",
            "Events of a key are handed out in their order. Replay the one that the message names before, or all of the \
             key at once.",
        ),
        Code::NoQueue => face(
            Grpc::FailedPrecondition,
            Http::CONFLICT,
            "The stream is no queue",
            "Say `kind: ephemeral` in its configuration, or in that of a pattern: `wasmill queue create NAME`. Events of \
             other streams are consumed by groups.",
        ),
        Code::ScheduleNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "There is no such schedule",
            "One for a single time is gone when it has published. `wasmill schedule list` shows those that there are.",
        ),
        Code::ReplayNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "There is no such replay",
            "Check its id in `wasmill replay list`; replays that are over are forgotten a day later.",
        ),
        Code::ReplayState => face(
            Grpc::FailedPrecondition,
            Http::CONFLICT,
            "The replay is not in a state for this",
            "One that is done or cancelled does not go on: start another. One for a group or a plugin is not received \
             by a client.",
        ),
        Code::SagaNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "There is no such saga",
            "Check its id, or its type and correlation id, in `wasmill saga list`; one that was forgotten is gone.",
        ),
        Code::SagaState => face(
            Grpc::FailedPrecondition,
            Http::CONFLICT,
            "The saga is not in a state for this",
            "The message says what it is at. `wasmill saga status ID` shows it, and `wasmill saga timeline ID` how it came \
             there. Compensation cannot be cancelled; a step is retried, skipped or marked done only where a person is \
             needed.",
        ),
        Code::SchemaNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "There is no such schema",
            "`wasmill schema list` shows those that there are. Where an event was refused, its stream requires a schema \
             for each type and version: register one, or correct `type` and `schemaVersion`.",
        ),
        Code::SchemaConflict => face(
            Grpc::AlreadyExists,
            Http::CONFLICT,
            "The version has another schema",
            "A schema never changes once it is registered. Register the new one as the next version.",
        ),
        Code::SchemaIncompatible => face(
            Grpc::FailedPrecondition,
            Http::CONFLICT,
            "The schema does not go with the version beside it",
            "Each detail says where, what changed, and why that breaks something. Change the schema, or say with \
             `wasmill schema compatibility TYPE MODE` what new versions have to go with.",
        ),
        Code::SchemaViolation => face(
            Grpc::InvalidArgument,
            Http::UNPROCESSABLE_ENTITY,
            "An event breaks the schema of its type",
            "Each detail names the event by its index, the place in its data, and what was expected. Nothing of the \
             append was stored. `wasmill schema show TYPE` shows the schema.",
        ),
        Code::PluginNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "There is no such plugin",
            "Check the name in `wasmill plugin list`; it is the one in the plugin's descriptor.",
        ),
        Code::PluginRevisionNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "The plugin has no such revision",
            "`wasmill plugin revisions NAME` lists those that it has. They are counted by the host, from 1.",
        ),
        Code::ProjectionNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "There is no such projection",
            "Check the name in `wasmill projection list`. A plugin of another kind has no read model.",
        ),
        Code::CollectionNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "The projection has no such collection",
            "`wasmill projection get NAME` shows the collections that the plugin declares.",
        ),
        Code::DocumentNotFound => face(
            Grpc::NotFound,
            Http::NOT_FOUND,
            "There is no such document",
            "Nothing is stored under this key. If you have just published the event, wait for its position.",
        ),
        Code::NotIndexed => face(
            Grpc::InvalidArgument,
            Http::BAD_REQUEST,
            "Documents cannot be sorted by this field",
            "The collection has no index on it. Sort by one of those that the message names, or by `$key`; or declare the \
             index in the plugin's descriptor and deploy it.",
        ),
        Code::GenerationNotFound => face(
            Grpc::FailedPrecondition,
            Http::CONFLICT,
            "There is no such generation of the read model",
            "What is to be compared is not there, or no longer: perhaps it was swapped in. `wasmill projection get NAME` \
             shows what serves and what is being built.",
        ),
        Code::PositionNotReached => face(
            Grpc::DeadlineExceeded,
            Http::GATEWAY_TIMEOUT,
            "The read model has not come this far yet",
            "Ask again or wait longer. If it stays behind, `wasmill projection get NAME` says whether it is paused.",
        ),
        Code::ProjectionPaused => face(
            Grpc::FailedPrecondition,
            Http::CONFLICT,
            "The projection has stopped at an event",
            "Its plugin failed there, as the message says; its log may say more. Deploy a mended revision, or rebuild \
             it. What it had folded before can be read without waiting.",
        ),
        Code::ComponentInvalid => face(
            Grpc::InvalidArgument,
            Http::UNPROCESSABLE_ENTITY,
            "The bytes are not a WebAssembly component",
            "Upload a component, not a core module or a text file. `wasmill plugin new` makes a project that builds one.",
        ),
        Code::ComponentRefused => face(
            Grpc::InvalidArgument,
            Http::UNPROCESSABLE_ENTITY,
            "The component does not keep the plugin contract",
            "Each detail names an export that is missing or an import that is not allowed. Compare with wit/plugin.wit.",
        ),
        Code::DescriptorInvalid => face(
            Grpc::InvalidArgument,
            Http::UNPROCESSABLE_ENTITY,
            "The plugin's descriptor is not valid",
            "What `describe` answers has to follow wit/descriptor.schema.json. Each detail names a field and its rule.",
        ),
        Code::PluginFailed => face(
            Grpc::FailedPrecondition,
            Http::UNPROCESSABLE_ENTITY,
            "The plugin failed when it was called",
            "It crashed, ran too long or asked for too much memory. The message and the plugin's log say where.",
        ),
        Code::PluginConflict => face(
            Grpc::Aborted,
            Http::CONFLICT,
            "The plugin is being changed by someone else",
            "Look at its state with `wasmill plugin list` and decide anew.",
        ),
        Code::PluginInUse => face(
            Grpc::FailedPrecondition,
            Http::CONFLICT,
            "Sagas of the plugin have not ended",
            "They need its code to come to their end. Wait for them, or cancel them: `wasmill saga list --type NAME` shows \
             them. Removed by force, the plugin leaves them behind, paused until each is resumed with a revision that is deployed then.",
        ),
        Code::LimitReached => face(
            Grpc::ResourceExhausted,
            Http::CONFLICT,
            "A limit of the host is reached",
            "Remove what is not needed any more; the message names the limit.",
        ),
        Code::Unauthenticated => face(
            Grpc::Unauthenticated,
            Http::UNAUTHORIZED,
            "A token is needed",
            "Send `authorization: Bearer TOKEN` with the token that the host was started with.",
        ),
        Code::Forbidden => face(
            Grpc::PermissionDenied,
            Http::FORBIDDEN,
            "The call is not allowed",
            "Either the name in the Host header or the page in the Origin header is not one that the host was told to \
             trust: see `allowed_hosts` and `allowed_origins` in its configuration. Or the stream is kept from clients \
             by `scope` or `access` in its configuration: `wasmill stream config get STREAM` says who says so.",
        ),
        Code::NotFound => face(
            Grpc::Unimplemented,
            Http::NOT_FOUND,
            "There is nothing at this path",
            "Check the path or method; /openapi.json and gRPC reflection list what there is.",
        ),
        Code::MethodNotAllowed => face(
            Grpc::Unimplemented,
            Http::METHOD_NOT_ALLOWED,
            "The path has no such method",
            "The `Allow` header of the answer lists the methods.",
        ),
        Code::UnsupportedMediaType => face(
            Grpc::InvalidArgument,
            Http::UNSUPPORTED_MEDIA_TYPE,
            "The content type is not understood",
            "The message lists the content types that this path takes.",
        ),
        Code::Overloaded => face(
            Grpc::Unavailable,
            Http::SERVICE_UNAVAILABLE,
            "The host has more to do than it can take in",
            "Nothing was stored. Wait a little, longer each time, and repeat the same request.",
        ),
        Code::Draining => face(
            Grpc::Unavailable,
            Http::SERVICE_UNAVAILABLE,
            "The host is stopping",
            "Repeat the request when it is back. A reader goes on from the last position that it has seen.",
        ),
        Code::OutcomeUnknown => face(
            Grpc::Unavailable,
            Http::SERVICE_UNAVAILABLE,
            "It is not known whether this was stored",
            "The connection to the database was lost in mid-commit. Send the same events with the same ids again: what \
             was stored is answered as a duplicate, and nothing is doubled.",
        ),
        Code::StorageUnavailable => face(
            Grpc::Unavailable,
            Http::SERVICE_UNAVAILABLE,
            "The store cannot be reached at the moment",
            "Repeat the request with the same event ids: if it was stored after all, it is not stored twice.",
        ),
        Code::StorageFailed => face(
            Grpc::Internal,
            Http::INTERNAL_SERVER_ERROR,
            "The store failed",
            "The host's log says why: a full disk, or a damaged file. Whether an append was stored is not known; \
             repeating it later with the same event ids settles it.",
        ),
        Code::Internal => face(
            Grpc::Internal,
            Http::INTERNAL_SERVER_ERROR,
            "A defect of the host",
            "Please report it, with the correlation id of the answer and the lines of the host's log that carry it.",
        ),
    }
}

/// The table as `examples/errors/README.md` shows it.
pub fn readme() -> String {
    let mut text = String::from(
        "# Error codes\n\nEvery failure carries a stable code: in HTTP as `code` of a problem+json body (its `type` is \
         `/errors/CODE`, a page that the host serves), in gRPC as `reason` of the `ErrorInfo` in the status details \
         (domain `wasmill`). Codes are added, never changed. This file is made from the host's own table, \
         `host/server/src/errors.rs`.\n\n| code | HTTP | gRPC | retry | means | what to do |\n|---|---|---|---|---|---|\n",
    );
    for code in Code::ALL {
        let Face { grpc, http, title, advice } = face(*code);
        let retry = if code.retryable() { "yes" } else { "no" };
        text += &format!("| `{}` | {} | {grpc:?} | {retry} | {title} | {advice} |\n", code.as_str(), http.as_u16());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `WASMILL_WRITE_DOCS=1 cargo nextest run ...` writes the file instead of comparing it.
    #[test]
    fn the_readme_is_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/errors/README.md");
        if std::env::var_os("WASMILL_WRITE_DOCS").is_some() {
            std::fs::write(path, readme()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), readme(), "run with WASMILL_WRITE_DOCS=1");
    }

    #[test]
    fn what_is_worth_a_retry_looks_so_to_generic_clients() {
        for code in Code::ALL.iter().filter(|code| code.retryable()) {
            let face = face(*code);
            assert!(matches!(face.grpc, tonic::Code::Unavailable | tonic::Code::DeadlineExceeded), "{code:?}");
            assert!(face.http.is_server_error(), "{code:?}");
        }
    }

    #[test]
    fn a_code_is_found_by_its_name() {
        for code in Code::ALL {
            assert_eq!(by_name(code.as_str()), Some(*code));
        }
        assert_eq!(by_name("colour"), None);
    }
}
