//! Queues, as both faces see them.

use wasmill_core::code::{Code, Problem};
use wasmill_core::event::NewEvent;
use wasmill_core::group::Membership;
use wasmill_core::group::message::{DELAY_MS, PRIORITY, PRIORITY_MAX, TIME_TO_LIVE_MS};
use wasmill_core::limits::group as limits;
use wasmill_core::name::StreamName;

use crate::app::App;
use crate::convert::stream_name;
use crate::errors::report;
use crate::rights;

/// A stream that is a queue and may be read, and the group behind it.
pub(crate) async fn group(app: &App, queue: &str) -> Result<(StreamName, String), Problem> {
    let stream = stream_name(queue)?;
    rights::may_read(&app.host.stream_configs, &stream)?;
    let group = app.host.groups.queue(&stream).await.map_err(report)?;
    Ok((stream, group))
}

pub(crate) async fn consumer(app: &App, queue: &str, consumer: &str) -> Result<Membership, Problem> {
    let (_, group) = group(app, queue).await?;
    app.host.groups.attach(&group, consumer).await.map_err(report)
}

/// Writes into a message's headers when it may be handed out, and before which others.
pub(crate) fn wishes(
    event: &mut NewEvent,
    delay_ms: u64,
    time_to_live_ms: u64,
    priority: Option<u32>,
) -> Result<(), Problem> {
    let mut say = |name: &str, at: &str, ms: u64| {
        if ms > limits::DELAY_MS_MAX {
            let text = format!("{ms} is more than {}, which is ten years", limits::DELAY_MS_MAX);
            return Err(Problem::new(Code::InvalidArgument, format!("{at}: {text}")).with(at, text));
        }
        if ms > 0 {
            event.headers.push((name.to_owned(), ms.to_string()));
        }
        Ok(())
    };
    say(DELAY_MS, "delay_ms", delay_ms)?;
    say(TIME_TO_LIVE_MS, "time_to_live_ms", time_to_live_ms)?;
    let Some(priority) = priority else { return Ok(()) };
    if priority > u32::from(PRIORITY_MAX) {
        let text = format!("{priority} is out of range: 0 to {PRIORITY_MAX}");
        return Err(Problem::new(Code::InvalidArgument, format!("priority: {text}")).with("priority", text));
    }
    event.headers.push((PRIORITY.to_owned(), priority.to_string()));
    Ok(())
}
