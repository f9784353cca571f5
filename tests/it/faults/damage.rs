//! A database that was damaged while the host was down: what is damaged is named, all else is served, and
//! no altered byte is handed out.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::block_in_place;
use tonic::Status;
use wasmill_core::event::Event;
use wasmill_server::proto::ReadLogRequest;
use wasmill_test_postgres::Postgres;

use super::kill::folder;
use super::load::Load;
use super::publisher::code_of;
use super::verify::whole_log;
use crate::support::host::command;
use crate::support::rng::Rng;
use crate::support::{TestHost, long};

const DATABASE: &str = "wasmill.db";
const PAGE_BYTES: usize = 4_096;
/// Stands in the data of most events of a load, and nowhere else.
const DATA: &[u8] = b"xxxxxxxx";

/// Fills the log of a host, stops it, and returns what the log holds.
async fn filled(host: TestHost, rng: &mut Rng) -> (Arc<TempDir>, Vec<Event>) {
    let load = Load::start(&[&host], rng);
    load.acknowledges(1_000).await;
    let outcome = load.finish(&host).await;
    let log = whole_log(&host).await;
    outcome.verify(&log);
    (host.terminate().await.1, log)
}

/// What a reader met who read everything.
#[derive(Debug, Default)]
struct Met {
    /// Positions of events that could not be read.
    unreadable: Vec<u64>,
    /// Events that were left out without a word.
    skipped: u64,
}

impl Met {
    /// Reads the log in pages. A page that meets damage is refused as a whole: its other events are read
    /// one by one. All that is read is as it was written.
    async fn by_reading(host: &TestHost, log: &[Event]) -> Self {
        let (mut met, mut next, mut limit) = (Self::default(), 0, 0);
        while next < log.len() as u64 {
            let (until, error) = met.read(host, log, next, limit).await;
            if error.is_none() && (limit == 0 || until == next) {
                met.skipped += log.len() as u64 - until;
                return met;
            }
            next = until;
            if let Some(status) = &error {
                assert_eq!(code_of(status), "storage_failed", "{status:?}");
                if limit == 1 {
                    met.unreadable.push(next);
                    next += 1;
                }
            }
            // Behind what is damaged pages are whole again.
            limit = u64::from((limit == 0) == error.is_some());
        }
        met
    }

    /// Reads on until the end, or an error; returns where it has come.
    async fn read(&mut self, host: &TestHost, log: &[Event], from: u64, limit: u64) -> (u64, Option<Status>) {
        let request = ReadLogRequest { from_position: Some(from), limit, ..ReadLogRequest::default() };
        let mut next = from;
        let mut pages = match host.log().await.read_log(request).await {
            Ok(pages) => pages.into_inner(),
            Err(status) => return (next, Some(status)),
        };
        loop {
            match pages.message().await {
                Ok(Some(page)) => {
                    for event in page.events {
                        let event = event.into_event().expect("an event");
                        let position = event.position().0;
                        assert!(position >= next, "position {position} is read behind {next}");
                        let written = log[position as usize].raw();
                        assert_eq!(event.raw(), written, "position {position}: what is read is what was written");
                        self.skipped += position - next;
                        next = position + 1;
                    }
                }
                Ok(None) => return (next, None),
                Err(status) => return (next, Some(status)),
            }
        }
    }
}

fn flip(rng: &mut Rng, bytes: &mut [u8]) {
    bytes[rng.below(bytes.len() as u64) as usize] ^= 1 << rng.below(8);
}

/// Places in the data of events.
fn data(bytes: &[u8]) -> Vec<usize> {
    let parts = bytes.windows(DATA.len()).enumerate();
    parts.filter(|(_, part)| *part == DATA).map(|(at, _)| at).collect()
}

fn one<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize]
}

/// Damages a database so many times, and checks that nobody is told anything wrong. Returns how many
/// events were skipped.
async fn damaged(test: &str, rounds: u64, damage: impl Fn(&mut Rng, &mut Vec<u8>)) -> u64 {
    let mut rng = Rng::printed(test);
    let (dir, log) = filled(TestHost::start().await, &mut rng).await;
    let whole = std::fs::read(dir.path().join(DATABASE)).expect("the database is there");
    let (mut refused, mut met, mut skipped) = (0, 0, 0);
    for _ in 0..rounds {
        let (mut bytes, copy) = (whole.clone(), folder());
        damage(&mut rng, &mut bytes);
        std::fs::write(copy.path().join(DATABASE), bytes).expect("it is written");
        match TestHost::try_start(command(copy.path()), copy).await {
            Err(said) => {
                let why = said.last().expect("it says why it does not start");
                assert!(why.contains(DATABASE), "a refusal names the file: {why}");
                refused += 1;
            }
            Ok(host) => {
                let by_reading = Met::by_reading(&host, &log).await;
                skipped += by_reading.skipped;
                if !by_reading.unreadable.is_empty() {
                    assert_named(&host.log_after_termination().await, DATABASE);
                    met += 1;
                }
            }
        }
    }
    println!("{test}: of {rounds} hosts {refused} did not start, {met} met the damage, {skipped} events were skipped");
    skipped
}

fn assert_named(said: &[Value], name: &str) {
    let names = |line: &Value| line["code"] == "storage_failed" && line["error"].to_string().contains(name);
    assert!(said.iter().any(names), "the log names {name}: {said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_of_an_event_is_met_and_never_handed_out() {
    let rounds = if long() { 1_000 } else { 8 };
    let skipped = damaged("a_flipped_bit_of_an_event_is_met_and_never_handed_out", rounds, |rng, bytes| {
        let at = one(rng, &data(bytes));
        flip(rng, &mut bytes[at..at + DATA.len()]);
    });
    assert_eq!(skipped.await, 0, "what cannot be read is said");
}

/// Elsewhere in the file a bit may also say where on a page the rows are. SQLite does not check all of
/// that, so a read may miss rows; that is counted and not promised. An event is never altered.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_alters_no_event() {
    let rounds = if long() { 1_000 } else { 8 };
    damaged("a_flipped_bit_anywhere_alters_no_event", rounds, |rng, bytes| flip(rng, bytes)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_zeros_is_met_and_its_events_are_never_skipped() {
    let rounds = if long() { 300 } else { 6 };
    let skipped = damaged("a_page_of_zeros_is_met_and_its_events_are_never_skipped", rounds, |rng, bytes| {
        let page = one(rng, &data(bytes)) / PAGE_BYTES * PAGE_BYTES;
        bytes[page..page + PAGE_BYTES].fill(0);
    });
    assert_eq!(skipped.await, 0, "what cannot be read is said");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_ends_early_is_met_at_the_start() {
    let rounds = if long() { 300 } else { 4 };
    let skipped = damaged("a_file_that_ends_early_is_met_at_the_start", rounds, |rng, bytes| {
        let length = 1 + rng.below(bytes.len() as u64 - 1);
        bytes.truncate(length as usize);
    });
    assert_eq!(skipped.await, 0, "what cannot be read is said");
}

/// A publisher that repeats an event is answered by what is stored. If that is damaged, nobody suffers but
/// the one who asks, however often: not those who wait in the same group, and not the host.
#[tokio::test(flavor = "multi_thread")]
async fn who_repeats_a_damaged_event_is_told_and_nobody_else() {
    let repeated = json!([{ "id": "6f6c0b51-7f5d-4a7b-9e37-0d4c3f5d8a11", "type": "t", "data": "needle" }]).to_string();
    let publish =
        async |host: &TestHost| host.post("/api/event-streams/s/events", "application/json", repeated.clone()).await;
    let host = TestHost::start().await;
    assert_eq!(publish(&host).await.0, 201);
    let (_, dir) = host.terminate().await;
    let file = dir.path().join(DATABASE);
    let mut bytes = std::fs::read(&file).expect("the database is there");
    let at = bytes.windows(6).position(|part| part == b"needle").expect("the event is in it");
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).expect("it is written");

    let host = TestHost::start_in(dir).await;
    let others = (0..4).map(async |n| {
        for _ in 0..100 {
            host.publish(&format!("other-{n}"), &json!([{ "type": "t", "data": n }])).await;
        }
    });
    let repeats = async {
        for _ in 0..50 {
            let (status, problem) = publish(&host).await;
            assert_eq!((status, &problem["code"]), (500, &json!("storage_failed")), "{problem}");
        }
    };
    tokio::join!(futures_util::future::join_all(others), repeats);
    host.assert_healthy().await;
    assert_named(&host.log_after_termination().await, "the chunk at position 0:");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_changed_in_postgres_is_named() {
    let mut rng = Rng::printed("a_chunk_changed_in_postgres_is_named");
    let postgres = block_in_place(Postgres::start);
    let database = postgres.create_database();
    let store = ["--store", database.as_str()];
    let (dir, log) = filled(TestHost::start_with(folder(), &store).await, &mut rng).await;
    let position = rng.below(log.len() as u64);
    let change = format!(
        "update chunk set run = set_byte(run, {0} % length(run), get_byte(run, {0} % length(run)) # {1})
        where first_position = (select max(first_position) from chunk where first_position <= {position})
        returning first_position, event_count",
        rng.below(1 << 20),
        1 << rng.below(8),
    );
    let changed = postgres.psql("test_0", &change);
    let (first, count) = changed.split_once('|').expect("a row was changed");
    let (first, count): (u64, u64) = (first.parse().expect("a number"), count.parse().expect("a number"));
    let host = TestHost::start_with(dir, &store).await;
    let met = Met::by_reading(&host, &log).await;
    assert_eq!((met.unreadable, met.skipped), ((first..first + count).collect(), 0));
    assert_named(&host.log_after_termination().await, &format!("the chunk at position {first}:"));
}
