//! Replays, for both faces.

use std::sync::Arc;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use uuid::Uuid;
use wasmill_core::code::{Code, Problem};
use wasmill_core::event::Position;
use wasmill_core::name::StreamName;
use wasmill_core::replay::{NewReplay, Received, Replay, Target};

use crate::app::App;
use crate::pages::{Batch, Following};
use crate::{errors, groups, rights};

/// Replays are named by UUIDs.
pub(crate) fn id(text: &str) -> Result<Uuid, Problem> {
    let what = format!("`{}` is not the id of a replay, which is a UUID", text.escape_debug());
    Uuid::try_parse(text).map_err(|_| Problem::new(Code::ReplayNotFound, what))
}

pub(crate) async fn start(app: &App, new: NewReplay) -> Result<Replay, Problem> {
    for stream in new.source.streams.iter().filter(|stream| !stream.contains('*')) {
        if let Ok(stream) = StreamName::new(stream) {
            rights::may_read(&app.host.stream_configs, &stream)?;
        }
    }
    if let Target::Group(group) = &new.target {
        let record = app.host.groups.record(group).await.map_err(errors::report)?;
        groups::may_read(app, &record.config)?;
    }
    app.host.replays.start(new).await.map_err(errors::report)
}

/// What a client receives, until the replay is over. Ends with the host's stop.
pub(crate) async fn receive(
    app: &Arc<App>,
    via: &str,
    id: Uuid,
    after: Option<Position>,
) -> Result<impl Stream<Item = Result<Batch, Problem>> + Send + use<>, Problem> {
    let received = app.host.replays.receive(id, after).await.map_err(errors::report)?;
    let following = Following::new(&app.host.metrics, via);
    Ok(try_unfold((received, following, Arc::clone(app)), |(mut received, following, app)| async move {
        let events = tokio::select! {
            biased;
            () = app.drain.cancelled() => return Err(App::draining()),
            events = received.next() => events.map_err(errors::report)?,
        };
        let Some(events) = events else { return Ok(None) };
        following.delivered(events.len());
        let batch = Batch { events, covered_through: covered(&received), more: true };
        Ok::<_, Problem>(Some((batch, (received, following, app))))
    }))
}

fn covered(received: &Received) -> Option<u64> {
    received.next_position().0.checked_sub(1)
}
