//! Stream configurations as both faces show them.

use std::sync::Arc;

use wasmill_core::code::{Code, Problem};
use wasmill_core::name::Pattern;
use wasmill_core::stream::config::StreamConfig;
use wasmill_core::stream::configs::{ConfigError, Subject};

use crate::app::App;
use crate::convert::stream_name;
use crate::errors::report;

/// A page of the list of configurations.
pub(crate) struct ConfigList {
    pub(crate) configs: Vec<(Subject, Arc<StreamConfig>)>,
    /// Where to go on; `None` at the end.
    pub(crate) next_after: Option<String>,
}

pub(crate) fn list(app: &App, after: Option<&str>, limit: usize) -> ConfigList {
    let mut configs = app.host.stream_configs.list();
    configs.retain(|(subject, _)| after.is_none_or(|after| key(subject).as_str() > after));
    let more = configs.len() > limit;
    configs.truncate(limit);
    let next_after = configs.last().filter(|_| more).map(|(subject, _)| key(subject));
    ConfigList { configs, next_after }
}

/// Orders subjects as they are listed.
fn key(subject: &Subject) -> String {
    match subject {
        Subject::Pattern(pattern) => format!("pattern:{}", pattern.as_str()),
        Subject::Stream(stream) => format!("stream:{stream}"),
    }
}

pub(crate) fn of_stream(name: &str) -> Result<Subject, Problem> {
    stream_name(name).map(Subject::Stream)
}

pub(crate) fn of_pattern(glob: &str) -> Result<Subject, Problem> {
    let pattern = Pattern::new(glob).map(Subject::Pattern);
    pattern.map_err(|error| {
        Problem::new(Code::InvalidName, format!("pattern: {error}")).with("pattern", error.to_string())
    })
}

/// What is said of it; a problem when nothing is.
pub(crate) fn get(app: &App, subject: &Subject) -> Result<Arc<StreamConfig>, Problem> {
    app.host.stream_configs.get(subject).ok_or_else(|| missing(subject))
}

pub(crate) async fn put(app: &App, subject: &Subject, json: &str) -> Result<(), Problem> {
    let config = StreamConfig::parse(json).map_err(|invalid| report(ConfigError::Invalid(invalid)))?;
    app.host.stream_configs.put(subject, config).await.map_err(report)
}

pub(crate) async fn remove(app: &App, subject: &Subject) -> Result<(), Problem> {
    match app.host.stream_configs.remove(subject).await.map_err(report)? {
        true => Ok(()),
        false => Err(missing(subject)),
    }
}

fn missing(subject: &Subject) -> Problem {
    let what = match subject {
        Subject::Pattern(pattern) => format!("pattern `{}`", pattern.as_str()),
        Subject::Stream(stream) => format!("stream `{stream}` itself"),
    };
    Problem::new(Code::StreamConfigNotFound, format!("nothing is configured for {what}"))
}
