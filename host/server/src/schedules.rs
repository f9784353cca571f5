//! Schedules, as both faces see them. Each needs what publishing to its stream needs.

use wasmill_core::code::{Code, Problem};
use wasmill_core::limits::read::PAGE_BYTES_MAX;
use wasmill_core::name::StreamName;
use wasmill_core::schedule::{Schedule, ScheduleConfig, ScheduleError};
use wasmill_core::stream::Caller;

use crate::app::App;
use crate::errors::report;
use crate::rights;

/// Schedules that are read at once: each may have an event of 1 MiB.
const READ_AT_ONCE: usize = 16;

/// Makes or replaces one.
pub(crate) async fn put(app: &App, name: &str, config: ScheduleConfig) -> Result<Schedule, Problem> {
    if let Ok(stream) = StreamName::new(&config.stream) {
        rights::may_publish(&app.host.stream_configs, &stream)?;
    }
    match get(app, name).await {
        Err(problem) if problem.code != Code::ScheduleNotFound => return Err(problem),
        Ok(_) | Err(_) => {}
    }
    app.host.schedules.put(name, config).await.map_err(refused)
}

/// Its event is not one of several.
fn refused(error: ScheduleError) -> Problem {
    let mut problem = report(error);
    for detail in &mut problem.details {
        if let Some(field) = detail.at.strip_prefix("events[0]") {
            detail.at = format!("event{field}");
        }
    }
    if problem.code == Code::InvalidEvent {
        problem.message = INVALID_EVENT.into();
    }
    problem
}

pub(crate) const INVALID: &str = "the schedule is refused";
pub(crate) const INVALID_EVENT: &str = "the schedule is refused: its event breaks the rules";

pub(crate) async fn get(app: &App, name: &str) -> Result<Schedule, Problem> {
    let schedule = app.host.schedules.get(name).await.map_err(report)?;
    rights::may_publish(&app.host.stream_configs, &StreamName::from_stored(schedule.event.stream()))?;
    Ok(schedule)
}

pub(crate) async fn remove(app: &App, name: &str) -> Result<(), Problem> {
    get(app, name).await?;
    app.host.schedules.remove(name).await.map_err(report)
}

pub(crate) async fn pause(app: &App, name: &str) -> Result<Schedule, Problem> {
    get(app, name).await?;
    app.host.schedules.pause(name).await.map_err(report)?;
    get(app, name).await
}

/// `None` if it has published meanwhile, and with that is gone.
pub(crate) async fn resume(app: &App, name: &str) -> Result<Option<Schedule>, Problem> {
    get(app, name).await?;
    app.host.schedules.resume(name).await.map_err(report)?;
    match get(app, name).await {
        Ok(schedule) => Ok(Some(schedule)),
        Err(problem) if problem.code == Code::ScheduleNotFound => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// A page of the list of schedules.
#[derive(Default)]
pub(crate) struct ScheduleList {
    pub(crate) schedules: Vec<Schedule>,
    /// Where to go on; `None` at the end.
    pub(crate) next_after: Option<String>,
}

/// Those of streams that clients may publish to, until there are `limit` of them or 1 MiB of events.
pub(crate) async fn list(app: &App, after: Option<&str>, limit: usize) -> Result<ScheduleList, Problem> {
    let (mut list, mut bytes, mut after) = (ScheduleList::default(), 0, after.map(str::to_owned));
    loop {
        let page = app.host.schedules.list(after.as_deref(), READ_AT_ONCE).await.map_err(report)?;
        let Some(last) = page.schedules.last() else { return Ok(list) };
        after = Some(last.state.name.clone());
        for schedule in page.schedules {
            let stream = StreamName::from_stored(schedule.event.stream());
            if !app.host.stream_configs.may_publish(&stream, Caller::Api) {
                continue;
            }
            if list.schedules.len() == limit || (bytes > 0 && bytes + schedule.event.raw().len() > PAGE_BYTES_MAX) {
                list.next_after = list.schedules.last().map(|last| last.state.name.clone());
                return Ok(list);
            }
            bytes += schedule.event.raw().len();
            list.schedules.push(schedule);
        }
        if !page.more {
            return Ok(list);
        }
    }
}
