//! The log as a whole against what publishers and followers were told.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use uuid::Uuid;
use wasmill_core::event::Event;
use wasmill_server::proto::{AppendResponse, Direction, NewEvent, ReadLogRequest};

use super::load::Outcome;
use super::source::Batch;
use crate::support::TestHost;

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

impl Outcome {
    /// Every acknowledged event is there once, at the place that was answered, as it was sent; what was
    /// not acknowledged is there in full or not at all; nothing else is there; nothing is missing in
    /// between; and followers have seen it so.
    pub fn verify(&self, log: &[Event]) {
        assert_unbroken(log);
        let places: HashMap<Uuid, usize> = log.iter().zip(0..).map(|(event, place)| (event.id(), place)).collect();
        assert_eq!(places.len(), log.len(), "no event is there twice");
        let mut of_publishers = 0;
        for (_, published) in &self.publishers {
            for (batch, answers) in &published.acknowledged {
                assert_eq!(batch.0.len(), answers.len(), "each append has an answer");
                for ((stream, events), answer) in batch.0.iter().zip(answers) {
                    assert_at(log, stream, events, answer);
                }
                of_publishers += batch.event_count();
            }
            for batch in &published.unknown {
                of_publishers += assert_whole_or_absent(log, &places, batch);
            }
        }
        assert_eq!(of_publishers, log.len(), "nothing is there that was not sent");
        for seen in &self.followers {
            let stored: Vec<Uuid> = log.iter().take(seen.len()).map(Event::id).collect();
            assert_eq!(seen, &stored, "a follower has seen what is stored");
        }
    }

    /// Publishers were told nothing but these codes.
    pub fn assert_told_only(&self, codes: &[&str]) {
        for (host, published) in &self.publishers {
            for (code, (count, message)) in &published.errors {
                let expected = codes.contains(&code.as_str());
                assert!(expected, "a publisher of host {host} was told {count} times {code}: {message}");
            }
        }
    }

    /// The longest that a publisher of this host has waited for an acknowledgement.
    pub fn slowest(&self, host: usize) -> Duration {
        let of_host = self.publishers.iter().filter(|(of, _)| *of == host);
        of_host.map(|(_, published)| published.slowest).max().unwrap_or_default()
    }
}

fn assert_unbroken(log: &[Event]) {
    let (mut offsets, mut recorded_at): (HashMap<&str, u64>, _) = (HashMap::new(), i64::MIN);
    for (event, position) in log.iter().zip(0..) {
        assert_eq!(event.position().0, position, "no gap in the positions");
        let offset = offsets.entry(event.stream()).or_default();
        assert_eq!(event.offset().0, *offset, "no gap in the offsets of {}", event.stream());
        *offset += 1;
        assert!(event.recorded_at().0 >= recorded_at, "time steps back at position {position}");
        recorded_at = event.recorded_at().0;
    }
}

fn assert_at(log: &[Event], stream: &str, events: &[NewEvent], answer: &AppendResponse) {
    let count = events.len() as u64;
    assert_eq!(answer.last_position - answer.first_position + 1, count, "{answer:?}");
    assert_eq!(answer.last_offset - answer.first_offset + 1, count, "{answer:?}");
    for (sent, n) in events.iter().zip(0..) {
        let position = answer.first_position + n;
        let stored = log.get(position as usize);
        let stored = stored.unwrap_or_else(|| panic!("the acknowledged event at position {position} is missing"));
        assert_eq!((stored.id().to_string(), stored.stream()), (sent.id.clone(), stream), "at position {position}");
        assert_eq!(stored.offset().0, answer.first_offset + n, "at position {position}");
        assert_eq!(stored.data(), &sent.data[..], "at position {position}: the payload is unchanged");
    }
}

/// Returns how many of its events are there.
fn assert_whole_or_absent(log: &[Event], places: &HashMap<Uuid, usize>, batch: &Batch) -> usize {
    let events = batch.0.iter().flat_map(|(stream, events)| events.iter().map(move |event| (stream, event)));
    let found: Vec<_> =
        events.map(|(stream, event)| (stream, event, places.get(&event.id.parse().expect("a UUID")))).collect();
    let there = found.iter().filter(|(_, _, place)| place.is_some()).count();
    assert!(there == 0 || there == batch.event_count(), "a part of an append is there: {there} of {batch:?}");
    let recorded: HashSet<_> = found.iter().filter_map(|(_, _, place)| Some(log[*(*place)?].recorded_at())).collect();
    assert!(recorded.len() <= 1, "an append is recorded at once");
    for (stream, event, place) in found {
        let Some(stored) = place.map(|place| &log[*place]) else { continue };
        assert_eq!((stored.stream(), stored.data()), (stream.as_str(), &event.data[..]), "it is as it was sent");
    }
    there
}
