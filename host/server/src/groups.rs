//! Consumer groups, as both faces see them.

use wasmill_core::code::{Code, Problem};
use wasmill_core::group::GroupConfig;
use wasmill_core::limits::stream::CONFIG_BYTES_MAX;
use wasmill_core::name::StreamName;

use crate::app::App;
use crate::rights;

/// Reads the JSON of a configuration. Nothing at all is an empty one.
pub(crate) fn config(json: &str) -> Result<GroupConfig, Problem> {
    let refused = |text: String| {
        let message = format!("the group's configuration is refused: {text}");
        Err(Problem::new(Code::InvalidArgument, message).with("config", text))
    };
    if json.trim().is_empty() {
        return Ok(GroupConfig::default());
    }
    if json.len() > CONFIG_BYTES_MAX {
        return refused(format!("it has {} bytes; it may have {CONFIG_BYTES_MAX}", json.len()));
    }
    serde_json::from_str(json).or_else(|error| refused(error.to_string()))
}

/// A group over one stream that clients may not read is refused. One over several leaves such events out
/// when they are handed out, as every reader does.
pub(crate) fn may_read(app: &App, config: &GroupConfig) -> Result<(), Problem> {
    let only = config.only_stream().and_then(|stream| StreamName::new(stream).ok());
    only.map_or(Ok(()), |stream| rights::may_read(&app.host.stream_configs, &stream))
}
