//! Conversions that both faces share: names and words as callers write them.

use wasmill_core::code::{Code, Problem};
use wasmill_core::name::{InvalidName, StreamName};
use wasmill_core::plugin::log::Level;

pub(crate) fn stream_name(name: &str) -> Result<StreamName, Problem> {
    let refuse = |error: InvalidName| {
        Problem::new(Code::InvalidName, format!("stream name: {error}")).with("stream", error.to_string())
    };
    StreamName::new(name).map_err(refuse)
}

/// The least level of log lines that are wanted; empty for all.
pub(crate) fn level(level: &str) -> Result<Level, String> {
    let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error];
    if level.is_empty() {
        return Ok(Level::Trace);
    }
    let known = levels.into_iter().find(|known| known.as_str() == level);
    known.ok_or_else(|| format!("`{}` is not a level: trace, debug, info, warn, error", level.escape_debug()))
}
