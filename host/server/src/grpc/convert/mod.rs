//! The one place where messages and core's types meet.

mod append;
mod plugin;
mod projection;
mod query;
mod read;
mod stream;

use wasmill_core::code::{Code, Problem};
use wasmill_core::name::Pattern;

use crate::proto;

pub(crate) use append::{answer, append, appended, expected, transaction};
pub(crate) use plugin::{deploy_options, drain_time, log_line, plugin, plugin_status, revision, setup_change};
pub(crate) use projection::{documents, projection, wait_for};
pub(crate) use query::{diff, diff_request, found, query, update, wanted};
pub(crate) use read::{bound, filter, log_range, stream_range};
pub(crate) use stream::{config_subject, delete_mode, explained, stream, stream_config};

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
