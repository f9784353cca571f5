//! What a plugin says, as it says it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use wasmill_core::code::Problem;
use wasmill_core::plugin::deploy::PluginNotFound;
use wasmill_core::plugin::log::{Level, LogLine};

use crate::app::App;

/// Lines that go out together.
const PAGE_LINES: usize = 100;
/// Lines that a follower begins with, if it does not say where.
const BEGIN_LINES: usize = 100;
/// Between two looks whether the plugin is still there, when it says nothing.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Lines, and where to go on.
pub(crate) struct Page {
    pub(crate) lines: Vec<LogLine>,
    pub(crate) next: u64,
}

/// Follows a plugin's log from a line on. Ends with the plugin, or with the host's stop.
pub(crate) fn follow(
    app: &Arc<App>,
    name: String,
    from: Option<u64>,
    level: Level,
) -> Result<impl Stream<Item = Result<Page, Problem>> + Send + use<>, Problem> {
    let log = app.host.plugins.deployment(&name).map(|deployment| Arc::clone(&deployment.log));
    let log = log.ok_or_else(|| PluginNotFound(name.clone()))?;
    let from = from.unwrap_or_else(|| {
        let newest = log.tail(BEGIN_LINES, level);
        newest.first().map_or_else(|| log.since(0, level, 0).1, |line| line.number)
    });
    Ok(try_unfold((Arc::clone(app), name, from), move |(app, name, from)| async move {
        let mut next = from;
        loop {
            let Some(deployment) = app.host.plugins.deployment(&name) else {
                return Err(PluginNotFound(name).into());
            };
            let (lines, read_to) = deployment.log.since(next, level, PAGE_LINES);
            next = read_to;
            if !lines.is_empty() {
                return Ok(Some((Page { lines, next }, (app, name, next))));
            }
            tokio::select! {
                biased;
                () = app.drain.cancelled() => return Err(App::draining()),
                () = deployment.log.written(next) => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }))
}
