//! Random calls, each answered alike by every store.

use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;
use wasmill_core::clock::Timestamp;
use wasmill_core::event::{NewEvent, Offset, Origin, Position, PreparedEvent};
use wasmill_core::log::filter::{Filter, FilterTerm};
use wasmill_core::name::{Pattern, StreamName};
use wasmill_core::plugin::descriptor::Kind;
use wasmill_core::record::{GenerationId, GenerationRecord, GenerationState, RevisionRecord, StreamState};
use wasmill_core::store::{
    AppendCondition, Change, Direction, DocumentChange, DocumentStore, Expected, Guard, LogStore, PageLimit,
    PluginStore, StreamAppend, StreamCheck, Unit,
};
use wasmill_test_postgres::shared;

use super::is_long;
use super::same::{Database, Side};
use wasmill_core::random::{Random, seeds};

const STREAMS: [&str; 7] = ["a-1", "a-10", "a-2", "b", "A", "ü", "заказ \"1\""];
const PATTERNS: [&str; 6] = ["*", "a*", "*-1*", "заказ*", "none*", "b"];
const TYPES: [&str; 5] = ["placed", "paid", "order.closed", "order.opened", "täst"];
const TYPE_PATTERNS: [&str; 6] = ["placed", "paid", "order.*", "*", "none", "*d"];
const TAGS: [&str; 4] = ["t:1", "t:2", "t:3", "ü"];
const CORRELATIONS: [&str; 3] = ["c-1", "c-2", "c-3"];
const COLLECTIONS: [&str; 5] = ["c", "cc", "b", "", "$index/c/a.b"];
const KEYS: [&str; 11] = ["", "a", "a/", "a/1", "a/10", "a/2", "b", "ü", "\u{10FFFF}", "\u{10FFFF}z", "новый"];
const PREFIXES: [&str; 6] = ["", "a", "a/", "a/1", "\u{10FFFF}", "x"];
const COMPONENTS: [&str; 3] = ["aa", "bb", "cc"];
const GENERATIONS: u64 = 4;

/// Of the short form's runs every fourth has PostgreSQL beside SQLite: making a database takes longer than
/// all else in a run.
async fn stores(directory: &TempDir, seed: u64) -> Side {
    let mut databases = vec![Database::Sqlite(directory.path().join("wasmill.db"))];
    if is_long() || seed.is_multiple_of(4) {
        let url = tokio::task::spawn_blocking(|| shared().create_database()).await.expect("a database is made");
        databases.push(Database::Postgres(url));
    }
    Side::by_side(databases).await
}

#[tokio::test]
async fn random_calls_are_answered_as_by_the_memory_store() {
    for seed in seeds(if is_long() { 2_000 } else { 150 }) {
        let directory = tempfile::tempdir().expect("there is a place for temporary files");
        let mut run = Run::new(seed, stores(&directory, seed).await);
        for _ in 0..40 {
            run.step().await;
        }
        run.compare_everything().await;
        run.side.reopen(true).await;
        run.compare_everything().await;
    }
}

#[tokio::test]
async fn a_copy_between_stores_is_answered_alike_and_goes_on_alike() {
    for seed in seeds(if is_long() { 200 } else { 8 }) {
        let directory = tempfile::tempdir().expect("there is a place for temporary files");
        let mut run = Run::new(seed, Side::by_side(vec![Database::Sqlite(directory.path().join("1.db"))]).await);
        run.drops = false;
        for _ in 0..60 {
            run.step().await;
        }
        let url = tokio::task::spawn_blocking(|| shared().create_database()).await.expect("a database is made");
        let databases = vec![Database::Postgres(url), Database::Sqlite(directory.path().join("2.db"))];
        run.side.copied_to(databases).await;
        run.compare_everything().await;
        for _ in 0..20 {
            run.step().await;
        }
        run.compare_everything().await;
    }
}

struct Run {
    random: Random,
    side: Side,
    now: i64,
    next_id: u128,
    /// Every append so far, also of units that were turned away.
    sent: Vec<StreamAppend>,
    /// Whether generations are forgotten, be their documents gone or not. A copy knows nothing of such documents.
    drops: bool,
}

impl Run {
    fn new(seed: u64, side: Side) -> Self {
        Self { random: Random::new(seed), side, now: 1_000, next_id: 1, sent: Vec::new(), drops: true }
    }

    async fn step(&mut self) {
        match self.random.below(100) {
            0..50 => {
                let mut units = Vec::new();
                for _ in 0..=self.random.below(4) {
                    units.push(self.unit().await);
                }
                // Clocks step back.
                self.now += self.random.below(50) as i64 - 15;
                self.side.commit(&units, Timestamp(self.now)).await;
                self.sent.extend(units.into_iter().flat_map(|unit| unit.appends));
            }
            50..95 => self.read().await,
            95..98 => {
                let unit = self.unit_alone().await;
                self.side.commit(&[unit], Timestamp(self.now)).await;
            }
            _ => {
                let close = self.random.percent(50);
                self.side.reopen(close).await;
            }
        }
    }

    /// One that hides, removes or forgets events.
    async fn unit_alone(&mut self) -> Unit {
        let name = *self.random.pick(&STREAMS);
        let stream = StreamName::from_stored(name);
        let states = [StreamState::Live, StreamState::Live, StreamState::Deleted, StreamState::Tombstoned];
        let limit = self.random.below(12) as usize;
        let before = Timestamp(self.now - self.random.below(60) as i64);
        let state = if self.random.percent(5) { states[3] } else { states[self.random.below(3) as usize] };
        let truncate_before = Offset(if self.random.percent(10) { u64::MAX } else { self.random.below(40) });
        let set = Change::SetStream { stream: stream.clone(), truncate_before, state };
        let remove = Change::RemoveEvents { stream, limit };
        Unit::change(match self.random.below(4) {
            0 | 1 => vec![set],
            2 => vec![remove],
            _ => vec![Change::ForgetRemoved { before, limit }],
        })
    }

    fn condition(&mut self) -> AppendCondition {
        let after = self.random.percent(70).then(|| Position(self.random.below(150)));
        AppendCondition { query: self.filter(), after }
    }

    fn filter(&mut self) -> Filter {
        let random = &mut self.random;
        let some = |random: &mut Random, percent, of: &[&str]| -> Vec<String> {
            let count = if random.percent(percent) { 1 + random.below(2) } else { 0 };
            (0..count).map(|_| (*random.pick(of)).to_owned()).collect()
        };
        let patterns =
            |globs: Vec<String>| globs.iter().map(|glob| Pattern::new(glob).expect("a glob")).collect::<Vec<_>>();
        let term = |random: &mut Random| FilterTerm {
            streams: patterns(some(random, 30, &[&PATTERNS[..], &STREAMS[..]].concat())),
            types: patterns(some(random, 40, &TYPE_PATTERNS)),
            keys: some(random, 20, &["k1", "k2", "b", "a-1"]),
            tags: some(random, 40, &TAGS),
            correlation_ids: some(random, 20, &CORRELATIONS),
        };
        Filter::new((0..=random.below(2)).map(|_| term(random)).collect())
    }

    async fn unit(&mut self) -> Unit {
        let mut unit = Unit::default();
        for _ in 0..self.random.below(3) {
            unit.appends.push(self.append().await);
        }
        if self.random.percent(20) {
            let name = *self.random.pick(&STREAMS);
            let stream = StreamName::from_stored(name);
            let expected = self.expected(&stream).await;
            unit.checks.push(StreamCheck { stream, expected });
        }
        if self.random.percent(15) {
            let condition = self.condition();
            unit.conditions.push(condition);
        }
        if self.random.percent(15) {
            let guard = self.guard().await;
            unit.guards.push(guard);
        }
        if self.random.percent(60) {
            for _ in 0..self.random.below(4) {
                unit.changes.push(self.change().await);
            }
        }
        unit
    }

    /// Mostly of what is there.
    async fn guard(&mut self) -> Guard {
        let (collection, key) = (*self.random.pick(&COLLECTIONS), (*self.random.pick(&KEYS)).to_owned());
        let value = self.side.memory.document(GenerationId::HOST, collection, &key).await.expect("memory answers");
        let value = if self.random.percent(80) { value } else { Some(Bytes::from_static(b"other")) };
        Guard { collection: collection.into(), key, value }
    }

    async fn append(&mut self) -> StreamAppend {
        let mut append = if self.sent.is_empty() || self.random.percent(75) {
            let stream = *self.random.pick(&STREAMS);
            let count = if self.random.percent(5) { 70 } else { 1 + self.random.below(4) };
            let events: Vec<_> = (0..count).map(|_| self.event(stream)).collect();
            StreamAppend { stream: StreamName::from_stored(stream), expected: Expected::Any, events: events.into() }
        } else {
            self.repeated()
        };
        append.expected = self.expected(&append.stream).await;
        append
    }

    async fn expected(&mut self, stream: &StreamName) -> Expected {
        let info = self.side.memory.stream(stream).await.expect("memory answers");
        let next = info.map_or(0, |info| info.next_offset.0);
        match self.random.below(10) {
            0..6 => Expected::Any,
            6 => Expected::NoStream,
            7 => Expected::Exists,
            _ => Expected::Exactly(Offset((next + self.random.below(2)).saturating_sub(1))),
        }
    }

    fn event(&mut self, stream: &str) -> PreparedEvent {
        let random = &mut self.random;
        // Larger ones are fetched one by one.
        let length = if random.percent(2) { 70_000 } else { random.below(40) };
        self.next_id += 1;
        let event = NewEvent {
            id: Uuid::from_u128(self.next_id - 1),
            event_type: (*random.pick(&TYPES)).into(),
            key: random.percent(30).then(|| format!("k{}", random.below(3))),
            data: (0..length).map(|n| n as u8).collect(),
            tags: (0..random.below(3)).map(|_| (*random.pick(&TAGS)).to_owned()).collect(),
            origin: Origin {
                correlation_id: random.percent(40).then(|| (*random.pick(&CORRELATIONS)).to_owned()),
                ..Origin::default()
            },
            ..NewEvent::default()
        };
        PreparedEvent::encode(&event, &StreamName::from_stored(stream), Timestamp(7))
    }

    /// An earlier append, whole, in part, with more, somewhere else, with other contents, or twice.
    fn repeated(&mut self) -> StreamAppend {
        let earlier = self.random.pick(&self.sent).clone();
        let stream = earlier.stream.as_str();
        let id = earlier.events[0].id.as_u128();
        let events: Arc<[PreparedEvent]> = match self.random.below(6) {
            0 | 1 => return earlier,
            2 => earlier.events[self.random.below(earlier.events.len() as u64) as usize..].into(),
            3 => [&earlier.events, &[self.event(stream)][..]].concat().into(),
            4 => [&earlier.events[..1], &earlier.events[..1]].concat().into(),
            _ => {
                let stream = *self.random.pick(&STREAMS);
                let event = NewEvent { id: Uuid::from_u128(id), event_type: "other".into(), ..NewEvent::default() };
                let other = [PreparedEvent::encode(&event, &StreamName::from_stored(stream), Timestamp(7))];
                return StreamAppend { stream: StreamName::from_stored(stream), events: other.into(), ..earlier };
            }
        };
        StreamAppend { events, ..earlier }
    }

    async fn change(&mut self) -> Change {
        let generations = self.side.memory.generations().await.expect("memory answers");
        let id = GenerationId(1 + self.random.below(GENERATIONS));
        let head = self.side.next_position().await;
        match self.random.below(13) {
            12 => Change::PutDocuments { generation: GenerationId::HOST, documents: self.documents() },
            0..5 => Change::PutDocuments { generation: id, documents: self.documents() },
            5 | 6 => {
                let known = generations.iter().find(|record| record.id == id).map(|record| record.checkpoint);
                let stale = Position(self.random.below(head + 1));
                let from = known.filter(|_| self.random.percent(80)).unwrap_or(stale);
                Change::Advance { generation: id, from, to: Position(self.random.below(head + 1)) }
            }
            7 => {
                let checkpoint = Position(self.random.below(head + 1));
                Change::CreateGeneration(GenerationRecord { checkpoint, ..generation(id.0) })
            }
            8 => {
                let states = [
                    GenerationState::Building,
                    GenerationState::Serving,
                    GenerationState::Standby,
                    GenerationState::Retired,
                ];
                Change::SetGenerationState { generation: id, state: *self.random.pick(&states) }
            }
            9 => Change::DropDocuments { generation: id, limit: self.random.below(6) as usize },
            10 if self.drops && self.random.percent(50) => Change::DropGeneration { generation: id },
            10 => Change::PutStreamConfig {
                pattern: (*self.random.pick(&PATTERNS)).to_owned(),
                exact: self.random.percent(50),
                config: self.random.percent(70).then(|| format!("{{\"n\":{}}}", self.random.below(9))),
            },
            _ => self.plugin_change(),
        }
    }

    fn documents(&mut self) -> Vec<DocumentChange> {
        let document = |random: &mut Random| DocumentChange {
            collection: (*random.pick(&COLLECTIONS)).into(),
            key: (*random.pick(&KEYS)).into(),
            value: random.percent(70).then(|| (0..random.below(30)).map(|n| n as u8).collect()),
        };
        (0..self.random.below(12)).map(|_| document(&mut self.random)).collect()
    }

    fn plugin_change(&mut self) -> Change {
        let plugin = (*self.random.pick(&["p", "q", "плагин"])).to_owned();
        if self.random.percent(30) {
            return Change::RemovePlugin { name: plugin };
        }
        let sha256 = *self.random.pick(&COMPONENTS);
        let revision = RevisionRecord {
            plugin,
            kind: *self.random.pick(&[Kind::Projection, Kind::Handler]),
            number: 1 + self.random.below(4) as u32,
            sha256: sha256.into(),
            descriptor: format!("{{\"n\":{}}}", self.random.below(9)),
            setup: format!("{{\"s\":{}}}", self.random.below(9)),
            deployed_at: Timestamp(self.now),
        };
        Change::Deploy { revision, component: Bytes::from(sha256.repeat(3)) }
    }

    async fn read(&mut self) {
        let random = &mut self.random;
        let direction = *random.pick(&[Direction::Forward, Direction::Backward]);
        let limit = PageLimit {
            events: *random.pick(&[0, 1, 2, 3, 10, 33, 1_000]),
            bytes: *random.pick(&[0, 1, 150, 1_000, 100_000, 1 << 20]),
        };
        let after = random.percent(60).then(|| *random.pick(&STREAMS));
        let some = random.below(6) as usize;
        match random.below(9) {
            6 | 7 => {
                let head = self.side.next_position().await;
                let from = if self.random.percent(5) { u64::MAX } else { self.random.below(head + 3) };
                let filter = self.filter();
                self.side.walk(from, direction, &filter, PageLimit { events: limit.events.max(1), ..limit }).await;
            }
            8 => {
                let (stream, time) = (*random.pick(&STREAMS), self.now - random.below(400) as i64);
                self.side.times(stream, Timestamp(time)).await;
                let after = random.percent(60).then(|| Position(random.below(60)));
                self.side.removed_events(after, some).await;
            }
            0 | 1 => {
                let head = self.side.next_position().await;
                let from = if self.random.percent(5) { u64::MAX } else { self.random.below(head + 3) };
                self.side.read_log(from, direction, limit).await;
            }
            2 => {
                let (stream, from) = (*random.pick(&STREAMS), random.below(40));
                self.side.read_stream(stream, from, direction, limit).await;
                self.side.stream(stream).await;
            }
            3 => {
                let glob: &&str = random.pick(&PATTERNS);
                let pattern = random.percent(60).then(|| Pattern::new(glob).expect("a glob"));
                self.side.streams(pattern.as_ref(), after, some).await;
            }
            4 => {
                let id = GenerationId(1 + random.below(GENERATIONS));
                let (collection, prefix) = (*random.pick(&COLLECTIONS), *random.pick(&PREFIXES));
                let after = random.percent(60).then(|| *random.pick(&KEYS));
                self.side.scan(id, collection, prefix, after, some).await;
                let keys: Vec<String> = (0..some).map(|_| (*random.pick(&KEYS)).to_owned()).collect();
                self.side.documents(id, collection, &keys).await;
            }
            _ => {
                let first = u128::from(random.below(self.next_id as u64));
                let ids: Vec<Uuid> = (first..first + 20).step_by(3).map(Uuid::from_u128).collect();
                self.side.find_events(&ids).await;
            }
        }
    }

    async fn compare_everything(&self) {
        let all = PageLimit { events: 10_000, bytes: 1 << 30 };
        let head = self.side.next_position().await;
        for direction in [Direction::Forward, Direction::Backward] {
            let from = if direction == Direction::Forward { 0 } else { head };
            self.side.read_log(from, direction, all).await;
            for stream in STREAMS {
                self.side.read_stream(stream, from, direction, all).await;
            }
        }
        self.side.streams(None, None, 100).await;
        self.side.removed_events(None, 1_000).await;
        for tag in TAGS {
            let term = FilterTerm { tags: vec![tag.to_owned()], ..FilterTerm::default() };
            self.side.walk(0, Direction::Forward, &Filter::new(vec![term]), all).await;
        }
        let ids: Vec<Uuid> = (0..self.next_id).map(Uuid::from_u128).collect();
        self.side.find_events(&ids).await;
        for id in 0..=GENERATIONS {
            for collection in COLLECTIONS {
                self.side.scan(GenerationId(id), collection, "", None, 100).await;
                self.side.documents(GenerationId(id), collection, &KEYS.map(String::from)).await;
            }
        }
        self.side.records(&COMPONENTS).await;
    }
}

fn generation(id: u64) -> GenerationRecord {
    GenerationRecord {
        id: GenerationId(id),
        plugin: "flights".into(),
        revision: 1,
        state: GenerationState::Building,
        checkpoint: Position(0),
        lifts: 0,
        created_at: Timestamp(1),
    }
}

#[tokio::test]
async fn a_page_of_large_documents_ends_where_the_memory_store_ends_it() {
    let directory = tempfile::tempdir().expect("there is a place for temporary files");
    let side = stores(&directory, 0).await;
    let large = |n: u64| DocumentChange {
        collection: "c".into(),
        key: format!("{n:02}"),
        value: Some(vec![n as u8; 256 << 10].into()),
    };
    let documents = (0..40).map(large).collect();
    let changes =
        vec![Change::CreateGeneration(generation(1)), Change::PutDocuments { generation: GenerationId(1), documents }];
    side.commit(&[Unit::change(changes)], Timestamp(0)).await;
    for after in [None, Some("07"), Some("15"), Some("23"), Some("24"), Some("39")] {
        side.scan(GenerationId(1), "c", "", after, 1_000).await;
    }
}
