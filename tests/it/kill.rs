//! kill -9 at random moments: what was acknowledged is there, once, without a hole.

use std::collections::HashMap;

use wasmill_core::event::Event;
use wasmill_server::proto::{Direction, ReadLogRequest};

use crate::flights::{assert_equal, figures};
use crate::support::rng::Rng;
use crate::support::{TestHost, flights, long};

/// Every event of the log, in order.
pub async fn whole_log(host: &TestHost) -> Vec<Event> {
    let request = ReadLogRequest { direction: Direction::Forward.into(), ..ReadLogRequest::default() };
    let mut pages = host.log().await.read_log(request).await.expect("the log is read").into_inner();
    let mut events = Vec::new();
    while let Some(page) = pages.message().await.expect("a page") {
        events.extend(page.events.into_iter().map(|event| event.into_event().expect("an event")));
    }
    events
}

/// Publishes the flights while the host is killed again and again. Each life begins with what was not
/// acknowledged in the one before, so that events of unknown outcome are sent twice.
#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_nothing_and_doubles_nothing() {
    let mut rng = Rng::printed("kill_9_loses_nothing_and_doubles_nothing");
    let events = flights::events();
    let (kills, mut sent) = (if long() { 100 } else { 6 }, 0);
    let mut host = TestHost::start().await;
    host.deploy(&flights::rust_component()).await;
    for kill in 0..kills {
        let due = events.len() as u64 / kills * (kill + 1);
        let until = (sent as u64 + rng.below((due - sent as u64).max(1)) + 1).min(events.len() as u64);
        let acknowledged = publish_until_killed(&mut host, &events[sent..], until as usize - sent).await;
        let dir = host.kill().await;
        host = TestHost::start_in(dir).await;
        let log = whole_log(&host).await;
        assert!(log.len() >= sent + acknowledged, "kill {kill}: an acknowledged event is missing");
        assert_log_is_a_prefix(&log, &events, kill);
        sent += acknowledged;
    }
    flights::publish(&host, &events[sent..]).await.expect("the rest is taken");
    let log = whole_log(&host).await;
    assert_eq!(log.len(), events.len(), "every event is there once");
    assert_log_is_a_prefix(&log, &events, kills);
    assert_equal(&figures(&host, "flights", events.len() as u64 - 1).await, &flights::answers());
}

/// Sends events one by one in bulk and stops listening after `enough` acknowledgements; the caller
/// kills the host while the rest is under way.
async fn publish_until_killed(
    host: &mut TestHost,
    events: &[(String, wasmill_server::proto::NewEvent)],
    enough: usize,
) -> usize {
    use wasmill_server::proto::append_bulk_answer::Outcome;
    use wasmill_server::proto::append_bulk_response::Kind;
    use wasmill_server::proto::{AppendBulkRequest, AppendRequest};
    let ahead = (enough + 500).min(events.len());
    let requests: Vec<_> = (0..)
        .zip(&events[..ahead])
        .map(|(tag, (stream, event))| AppendBulkRequest {
            tag,
            append: Some(AppendRequest {
                stream: stream.clone(),
                events: vec![event.clone()],
                ..AppendRequest::default()
            }),
        })
        .collect();
    let answers = host.log().await.append_bulk(futures_util::stream::iter(requests)).await;
    let mut answers = answers.expect("the host takes a call").into_inner();
    let mut acknowledged = 0;
    while acknowledged < enough {
        match answers.message().await.expect("the host lives").expect("more answers").kind {
            Some(Kind::Answer(answer)) => match answer.outcome {
                Some(Outcome::Appended(_)) => acknowledged += 1,
                refused => panic!("{refused:?}"),
            },
            Some(Kind::Window(_)) | None => {}
        }
    }
    acknowledged
}

/// Positions and offsets without holes, and the events in the order in which they were sent.
fn assert_log_is_a_prefix(log: &[Event], sent: &[(String, wasmill_server::proto::NewEvent)], kill: u64) {
    let mut offsets: HashMap<&str, u64> = HashMap::new();
    for (position, (event, (stream, published))) in log.iter().zip(sent).enumerate() {
        assert_eq!(event.position().0, position as u64, "kill {kill}: no hole in the positions");
        assert_eq!((event.stream(), event.id().to_string()), (stream.as_str(), published.id.clone()), "kill {kill}");
        assert_eq!(event.data(), &published.data[..], "kill {kill}: the payload is unchanged");
        let offset = offsets.entry(event.stream()).or_default();
        assert_eq!(event.offset().0, *offset, "kill {kill}: no hole in the offsets");
        *offset += 1;
    }
}
