//! Many callers at once: what a reader sees while they commit, and who of them wins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;

use super::conditions::{condition, tagged, term, with};
use super::{NOW, append, commit, documents, events, guard, put};
use crate::event::{Event, Offset, Position};
use crate::log::filter::{Filter, FilterTerm};
use crate::name::{Pattern, StreamName};
use crate::store::{Appended, Direction, Expected, PageLimit, Rejection, Store, Unit};

const WRITERS: u128 = 8;
const GROUPS: u128 = 50;
const SMALL: PageLimit = PageLimit { events: 7, bytes: 1 << 20 };

/// Events of a stream of the writer's own and of one that all share, and one unit that is turned away.
/// Groups of different writers are of different size, so that no rhythm keeps them in order.
fn group(writer: u128, n: u128) -> Vec<Unit> {
    let seed = 1 + (writer * GROUPS + n) * 3;
    let own = format!("own-{writer}");
    vec![
        append(&own, Expected::Any, events(&own, seed, 1 + (n + writer) % 3)),
        append(&own, Expected::NoStream, events(&own, seed + 1, 2)),
        append("shared", Expected::Any, events("shared", seed + 2, 1)),
    ]
}

pub(super) async fn readers_see_no_gap_while_many_commit<S: Store>(store: Arc<S>) {
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    let own = FilterTerm { streams: vec![Pattern::new("own-*").expect("a glob")], ..FilterTerm::default() };
    readers.spawn(follow_log(Arc::clone(&store), Arc::clone(&done)));
    readers.spawn(follow_matching(Arc::clone(&store), Arc::clone(&done), Filter::new(vec![own])));
    readers.spawn(follow_stream(Arc::clone(&store), Arc::clone(&done), "shared"));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(Arc::clone(&store), writer));
    }
    let mut answered: Vec<Appended> = Vec::new();
    while let Some(written) = writers.join_next().await {
        answered.extend(unwound(written));
    }
    done.store(true, Ordering::SeqCst);
    let mut seen = Vec::new();
    while let Some(read) = readers.join_next().await {
        seen.push(unwound(read));
    }
    let matching = |stream: &dyn Fn(&str) -> bool| -> usize {
        answered.iter().filter(|a| stream(a.stream.as_str())).map(|a| a.count as usize).sum()
    };
    seen.sort_unstable();
    let mut expected = [matching(&|_| true), matching(&|s| s != "shared"), matching(&|s| s == "shared")];
    expected.sort_unstable();
    assert_eq!(seen, expected, "readers that follow see every event, each once");
    answered.sort_unstable_by_key(|appended| appended.first_position);
    let log = whole_log(&*store).await;
    let placed = answered.iter().flat_map(|a| {
        (0..u64::from(a.count)).map(|n| (a.first_position.0 + n, a.stream.to_string(), a.first_offset.0 + n))
    });
    let stored = log.iter().map(|event| (event.position().0, event.stream().to_owned(), event.offset().0));
    assert!(placed.eq(stored), "every answer to a concurrent commit is its place in the log");
}

/// The outcome of a task; what it panicked with goes on here.
fn unwound<T>(joined: Result<T, tokio::task::JoinError>) -> T {
    joined.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => panic!("{error}"),
    })
}

async fn write<S: Store>(store: Arc<S>, writer: u128) -> Vec<Appended> {
    let mut answered = Vec::new();
    for n in 0..GROUPS {
        let mut outcomes = commit(&*store, &group(writer, n)).await;
        let rejected = outcomes.remove(1);
        assert!(matches!(rejected, Err(Rejection::ChecksFailed { .. })), "a failing unit drops out alone");
        for outcome in outcomes {
            let appended = outcome.expect("the unit passes").appends.remove(0);
            let own = store.read_log(appended.first_position, Direction::Forward, &Filter::default(), SMALL).await;
            let own = own.expect("the log is read").events;
            let first = own.first().map(|event| (event.position(), event.stream().to_owned()));
            let expected = (appended.first_position, appended.stream.to_string());
            assert_eq!(first, Some(expected), "what was acknowledged can be read at once");
            answered.push(appended);
        }
        tokio::task::yield_now().await;
    }
    answered
}

/// Reads page after page, also of what is just being committed. The head is read first: all before
/// it has to be there.
async fn follow_log<S: Store>(store: Arc<S>, done: Arc<AtomicBool>) -> usize {
    let (mut next, mut times) = (0, NOW);
    loop {
        let last_look = done.load(Ordering::SeqCst);
        let head = store.head().await.expect("the head is read").next_position.0;
        while let Some(page) = page(&*store, Position(next), &Filter::default()).await {
            for event in page {
                assert_eq!(event.position().0, next, "no reader ever sees a gap, not even for a moment");
                assert!(event.recorded_at() >= times, "recorded_at never steps back, whoever commits");
                (next, times) = (next + 1, event.recorded_at());
            }
        }
        assert!(next >= head, "everything before the head can be read");
        if last_look {
            return next as usize;
        }
        tokio::task::yield_now().await;
    }
}

/// A filtered reader goes on behind the last event that it got; what then comes up in front of that
/// is never read.
async fn follow_matching<S: Store>(store: Arc<S>, done: Arc<AtomicBool>, filter: Filter) -> usize {
    let (mut next, mut seen) = (0, 0);
    loop {
        let last_look = done.load(Ordering::SeqCst);
        while let Some(page) = page(&*store, Position(next), &filter).await {
            for event in page {
                assert!(event.position().0 >= next, "a reader gets no event twice");
                (next, seen) = (event.position().0 + 1, seen + 1);
            }
        }
        if last_look {
            return seen;
        }
        tokio::task::yield_now().await;
    }
}

async fn follow_stream<S: Store>(store: Arc<S>, done: Arc<AtomicBool>, stream: &str) -> usize {
    let name = StreamName::from_stored(stream);
    let mut next = 0;
    loop {
        let last_look = done.load(Ordering::SeqCst);
        loop {
            let read = store.read_stream(&name, Offset(next), Direction::Forward, SMALL).await.expect("it is read");
            if read.is_empty() {
                break;
            }
            for event in read {
                assert_eq!(event.offset().0, next, "a stream's reader sees no gap while others append");
                next += 1;
            }
        }
        if last_look {
            return next as usize;
        }
        tokio::task::yield_now().await;
    }
}

/// `None` when nothing is left; pages without a match are passed over.
async fn page(store: &impl Store, from: Position, filter: &Filter) -> Option<Vec<Event>> {
    let mut next = Some(from);
    while let Some(at) = next {
        let read = store.read_log(at, Direction::Forward, filter, SMALL).await.expect("the log is read");
        if !read.events.is_empty() {
            return Some(read.events);
        }
        next = read.next;
    }
    None
}

async fn whole_log(store: &impl Store) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let next = events.last().map_or(0, |last| last.position().0 + 1);
        match page(store, Position(next), &Filter::default()).await {
            Some(page) => events.extend(page),
            None => return events,
        }
    }
}

/// Each of several callers at once tries the same; says how many passed, and how many of those were first.
async fn race<S: Store>(store: &Arc<S>, units: impl Iterator<Item = Unit>) -> (usize, usize) {
    let mut callers = JoinSet::new();
    for unit in units {
        let store = Arc::clone(store);
        callers.spawn(async move { commit(&*store, &[unit]).await.remove(0) });
    }
    let (mut passed, mut first) = (0, 0);
    while let Some(outcome) = callers.join_next().await {
        if let Ok(committed) = unwound(outcome) {
            passed += 1;
            first += usize::from(!committed.appends[0].duplicate);
        }
    }
    (passed, first)
}

pub(super) async fn of_callers_at_once_one_wins<S: Store>(store: Arc<S>) {
    for round in 0..5 {
        let stream = format!("s-{round}");
        let expected = |n| append(&stream, Expected::NoStream, events(&stream, 1 + round * 100 + n, 1));
        assert_eq!(race(&store, (0..WRITERS).map(expected)).await, (1, 1), "one of those that expect the same offset");
        let seat = format!("seat:{round}");
        let claim = |n| {
            let claim = tagged("seats", (1 << 100) + round * 100 + n, "claimed", &[&seat]);
            with(claim, vec![condition(vec![term(&[], &[&seat])], None)])
        };
        assert_eq!(race(&store, (0..WRITERS).map(claim)).await, (1, 1), "one of those with the same condition");
        let take = |n| Unit {
            guards: vec![guard(&seat, None)],
            changes: vec![documents(0, vec![put("own", &seat, Some("taken"))])],
            ..append("taken", Expected::Any, events("taken", (2 << 100) + round * 100 + n, 1))
        };
        assert_eq!(race(&store, (0..WRITERS).map(take)).await, (1, 1), "one of those with the same guard");
        let again = |_| append("again", Expected::Any, events("again", 1 + round * 100 + 50, 2));
        let passed = (WRITERS as usize, 1);
        assert_eq!(race(&store, (0..WRITERS).map(again)).await, passed, "one append is first, the others repeat it");
    }
    let log = whole_log(&*store).await;
    assert!(log.iter().zip(0..).all(|(event, n)| event.position().0 == n), "and whoever lost left no hole");
}
