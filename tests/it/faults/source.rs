//! What a publisher publishes: requests that are sent again as they are until they are answered.

use uuid::Uuid;
use wasmill_server::proto::NewEvent;

use crate::support::rng::Rng;

/// The type of all events made here.
pub const LOADED: &str = "loaded";
/// Streams that all publishers append to, beside one for each.
const SHARED_STREAMS: u64 = 3;
const EVENTS_MAX: u64 = 4;
/// One event in so many is large: up to 24 KiB, so that its chunk fills several pages of a database.
const LARGE_EVERY: u64 = 24;
const LARGE_BYTES_MAX: u64 = 24 << 10;
const SMALL_BYTES_MAX: u64 = 300;

/// What is appended together, or not at all. One stream: an append; several: a transaction.
#[derive(Clone, Debug)]
pub struct Batch(pub Vec<(String, Vec<NewEvent>)>);

impl Batch {
    pub fn one(stream: &str, event: NewEvent) -> Self {
        Self(vec![(stream.to_owned(), vec![event])])
    }

    pub fn event_count(&self) -> usize {
        self.0.iter().map(|(_, events)| events.len()).sum()
    }
}

/// Batches without end; their events have ids that no other publisher and no other run has.
pub fn endless(publisher: usize, mut rng: Rng) -> impl Iterator<Item = Batch> + Send {
    let run = u128::from(rng.next()) << 64;
    let ids = (0_u64..).map(move |n| Uuid::from_u128(run | u128::from(n)));
    let mut events = ids.enumerate().map(move |(n, id)| (n, id, publisher));
    std::iter::from_fn(move || {
        let mut event = |rng: &mut Rng| {
            let (n, id, publisher) = events.next()?;
            let bytes_max = if rng.below(LARGE_EVERY) == 0 { LARGE_BYTES_MAX } else { SMALL_BYTES_MAX };
            let filling = "x".repeat(rng.below(bytes_max) as usize);
            let data = format!(r#"{{"publisher":{publisher},"n":{n},"filling":"{filling}"}}"#);
            Some(NewEvent { id: id.to_string(), r#type: LOADED.into(), data: data.into(), ..NewEvent::default() })
        };
        let own = format!("load-{publisher}");
        let shared = format!("shared-{}", rng.below(SHARED_STREAMS));
        let streams = match rng.below(4) {
            0 => vec![own, shared],
            1 => vec![shared],
            _ => vec![own],
        };
        let appends = streams.into_iter().map(|stream| {
            let count = 1 + rng.below(EVENTS_MAX);
            Some((stream, (0..count).map(|_| event(&mut rng)).collect::<Option<_>>()?))
        });
        Some(Batch(appends.collect::<Option<_>>()?))
    })
}
