//! Every bound of the host, in one place, each with its unit and its reason.

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Bounds on what a publisher hands in. They are checked before anything is queued.
pub mod publish {
    use super::{KIB, MIB};

    /// One event's data. Larger payloads belong in a blob store, with a reference in the event.
    pub const EVENT_DATA_BYTES_MAX: usize = MIB;
    /// The last time that RFC 3339 can write in every time zone: the end of 9999-12-30 at UTC-2.
    pub const TIME_US_MAX: i64 = 253_402_207_199_999_999;
    /// Levels of arrays and objects in each other: parsers in the languages of plugins and readers give up
    /// somewhere beyond, serde_json at 128.
    pub const JSON_DEPTH_MAX: usize = 127;
    /// One append, encoded: it must fit in one transaction beside others.
    pub const APPEND_BYTES_MAX: usize = 4 * MIB;
    pub const APPEND_EVENTS_MAX: usize = 1_000;
    /// Streams that one transaction appends to; each is a row that it holds.
    pub const TRANSACTION_STREAMS_MAX: usize = 100;
    /// Streams that a transaction checks without writing to them.
    pub const CHECKS_MAX: usize = 100;
    /// Each is a query that runs inside the transaction.
    pub const CONDITIONS_MAX: usize = 16;
    pub const TAGS_MAX: usize = 32;
    pub const TAG_BYTES_MAX: usize = 128;
    /// Names and values of all headers of one event together.
    pub const HEADERS_BYTES_MAX: usize = 8 * KIB;
    pub const KEY_BYTES_MAX: usize = 256;
    /// Stream names and event types: long enough for a URL, short enough for an index entry.
    pub const NAME_BYTES_MAX: usize = 200;
    /// Workflow, correlation and causation ids, content types.
    pub const ID_BYTES_MAX: usize = 200;
    /// A W3C `traceparent` has 55 characters; later versions may be longer.
    pub const TRACEPARENT_BYTES_MAX: usize = 128;
}

/// Bounds of the group commit.
pub mod commit {
    use super::MIB;

    /// Units that wait for the writer; one more waits at the door, which is back-pressure.
    pub const QUEUE_UNITS_MAX: usize = 4_096;
    /// What waits and is being written, together: the memory that publishers can fill.
    pub const QUEUE_BYTES_MAX: usize = 64 * MIB;
    /// A transaction takes what is waiting up to these, so that one fsync serves many publishers
    /// and none waits behind more than a few milliseconds of others' rows.
    pub const GROUP_UNITS_MAX: usize = 1_024;
    pub const GROUP_EVENTS_MAX: usize = 4_096;
    pub const GROUP_BYTES_MAX: usize = 8 * MIB;
    /// How long a publisher waits at the door before it is told `overloaded`.
    pub const QUEUE_WAIT_MS_MAX: u64 = 5_000;
    /// Documents that one unit may change; a projection's commit is split above it.
    pub const DOCUMENTS_MAX: usize = 32_768;
}

/// Bounds of reads.
pub mod read {
    use super::{KIB, MIB};

    /// A page is closed at whichever of the two comes first; it holds at least one event.
    pub const PAGE_EVENTS_MAX: usize = 4_096;
    pub const PAGE_BYTES_MAX: usize = MIB;
    /// Newest committed events that are kept in memory, so that live readers share one copy.
    pub const TAIL_CACHE_BYTES_MAX: usize = 64 * MIB;
    pub const TAIL_CACHE_EVENTS_MAX: usize = 65_536;
    /// Events of other hosts that are fetched into that memory; a host that is further behind begins anew.
    pub const TAIL_GAP_EVENTS_MAX: u64 = 4_096;
    /// Entries of a filter, or of the query of an append condition: all its lists together.
    pub const FILTER_TERMS_MAX: usize = 128;
    pub const LIST_STREAMS_MAX: usize = 1_000;
    pub const LIST_DOCUMENTS_MAX: usize = 1_000;
    pub const LIST_BYTES_MAX: usize = 4 * MIB;
    /// Tests of a query, all together, and how deep they may stand in each other.
    pub const CONDITION_TESTS_MAX: usize = 64;
    pub const CONDITION_DEPTH_MAX: usize = 8;
    /// Values that one test may name.
    pub const CONDITION_VALUES_MAX: usize = 256;
    /// What a query says, as text.
    pub const CONDITION_BYTES_MAX: usize = 64 * KIB;
    /// Documents that one page of a query looks at, whether they match or not.
    pub const QUERY_LOOKED_AT_MAX: usize = 10_000;
    /// Documents, or entries of an index, that a count looks at before it says `at least`.
    pub const COUNT_LOOKED_AT_MAX: usize = 100_000;
    /// Documents that are fetched together by their keys: each may have 256 KiB.
    pub const DOCUMENTS_AT_ONCE: usize = 64;
    /// Differences of two documents that are told by their places.
    pub const DIFFERENCES_OF_ONE_MAX: usize = 32;
    /// A value that is told with them is cut there.
    pub const DIFFERENCE_BYTES_MAX: usize = 256;
    /// Newest changes of a read model that somebody follows.
    pub const CHANGES_BYTES_MAX: usize = 8 * MIB;
    pub const CHANGES_MAX: usize = 16_384;
    /// What a follower is handed at once.
    pub const CHANGES_AT_ONCE: usize = 256;
    pub const CHANGES_AT_ONCE_BYTES: usize = MIB;
    /// They are kept that long after the last follower has gone: one that has lost its connection comes back.
    pub const CHANGES_KEPT_US: i64 = 60_000_000;
}

/// Bounds of streams' configurations and life cycles.
pub mod stream {
    use super::KIB;

    /// A configuration has some twenty short fields.
    pub const CONFIG_BYTES_MAX: usize = 16 * KIB;
    /// Patterns with a configuration: each is tried for every stream that comes up.
    pub const PATTERNS_MAX: usize = 1_000;
    /// Configurations, of patterns and of single streams: they are all kept in memory.
    pub const CONFIGS_MAX: usize = 10_000;
    /// Streams of which it is remembered what their configurations come to.
    pub const EFFECTIVE_CACHED_MAX: usize = 10_000;
    /// Events that one commit unit removes, so that appends are not held up behind it.
    pub const REMOVE_EVENTS_MAX: usize = 1_000;
    /// A publisher that repeats an append within a day gets its first answer, though the events are gone.
    /// They are forgotten once an hour.
    pub const REMOVED_IDS_KEPT_HOURS: i64 = 24;
    /// Streams that retention looks up at once.
    pub const RETENTION_STREAMS_PAGE: usize = 256;
    /// Pages of 1 MiB that retention reads of one stream in one run, to find what is beyond its bytes.
    pub const RETENTION_PAGES_MAX: usize = 64;
    /// A hundred years.
    pub const SECONDS_MAX: u64 = 3_153_600_000;
    /// What a JSON number holds exactly.
    pub const NUMBER_MAX: u64 = (1 << 53) - 1;
    pub const DELIVERIES_MAX: u64 = 1_000;
    pub const REMINDERS: u64 = 3;
    pub const REMINDERS_MAX: u64 = 1_000;
    /// Where reminders go that no configuration sends elsewhere.
    pub const REMINDER_STREAM: &str = "unread-receipts";
    /// Thirty days.
    pub const RECEIPTS_KEPT_SECONDS: u64 = 30 * 86_400;
    /// A page of a read.
    pub const BATCH_EVENTS_MAX: u64 = super::read::PAGE_EVENTS_MAX as u64;
    pub const BATCH_DELAY_MS_MAX: u64 = 60_000;
}

/// Schemas of event types.
pub mod schema {
    use super::KIB;

    /// One JSON Schema, as text.
    pub const SCHEMA_BYTES_MAX: usize = 64 * KIB;
    /// What is known of each is kept in memory; its schemas are not.
    pub const TYPES_MAX: usize = 10_000;
    pub const VERSIONS_MAX: usize = 256;
    /// Of one registration.
    pub const AT_ONCE_MAX: usize = super::plugin::ENTRIES_MAX;
    /// Schemas that may apply to one place of an event's data, through `$ref`, `allOf` and the like: the
    /// work that a schema can make of a small event.
    pub const APPLIED_AT_ONCE_MAX: usize = 4_096;
    /// Looks at data, in bytes of it, that a schema may come to which looks at each level in several ways.
    pub const LOOKS_MAX: usize = 64 * 1_024 * KIB;
    /// Of a compiled regular expression.
    pub const PATTERN_BYTES_MAX: usize = 1_024 * KIB;
    /// Compiled schemas that are kept, and the bytes of their texts; compiled they take some ten times that.
    pub const CACHED_MAX: usize = 1_000;
    pub const CACHED_BYTES_MAX: usize = 4 * 1_024 * KIB;
    /// Pairs of schemas that one comparison looks at; what is left then counts as not comparable.
    pub const COMPARED_MAX: usize = 20_000;
    /// How deep it goes into schemas, and from one `$ref` to the next.
    pub const COMPARED_DEPTH_MAX: usize = 200;
    /// Incompatibilities that are listed, and violations of one event.
    pub const LISTED_MAX: usize = 50;
    pub const VIOLATIONS_MAX: usize = 10;
    /// Of the words for one.
    pub const TEXT_BYTES_MAX: usize = 300;
    /// Attempts to register while others do.
    pub const TRIES_MAX: usize = 10;
}

/// Bounds of consumer groups.
pub mod group {
    use std::time::Duration;

    use super::{KIB, MIB};

    /// Each is a task, and what it has not settled.
    pub const GROUPS_MAX: usize = 1_000;
    pub const MEMBERS_MAX: usize = 1_000;
    /// Events that were read and are not settled: beyond, nothing more is read until some are. They stay in
    /// memory.
    pub const UNSETTLED_EVENTS_MAX: usize = 65_536;
    pub const UNSETTLED_BYTES_MAX: usize = 64 * MIB;
    /// Matching events that a group reads at once for a member that finds nothing.
    pub const READ_EVENTS: usize = 1_024;
    /// Events that are read at once to find one that was read before and is not settled.
    pub const PENDING_READ_EVENTS: usize = 256;
    /// Pages that a group looks through for one pull before others get their turn.
    pub const READS_AT_ONCE: usize = 16;
    /// Positions that the cursor which is stored may lag behind: what is read again after a crash.
    pub const CURSOR_LAG_MAX: u64 = 100_000;
    /// Calls that wait for a group's task; one more waits at the door.
    pub const COMMANDS_MAX: usize = 1_024;
    pub const COMMANDS_AT_ONCE: usize = 256;
    /// What one pull hands out.
    /// Open events above which a replay waits.
    pub const AGAIN_EVENTS_MAX: usize = 4_096;
    /// Of a queue's messages that wait, so many are looked through for those of the highest priority.
    pub const PRIORITY_AHEAD_EVENTS: usize = 4_096;
    pub const PRIORITY_AHEAD_BYTES: usize = 8 * MIB;
    /// How long an event waits whose upcaster rests after crashes.
    pub const UPCASTER_RESTS_MS: u64 = 1_000;
    pub const PULL_EVENTS_MAX: usize = 1_000;
    pub const PULL_BYTES_MAX: usize = 4 * MIB;
    pub const PULL_WAIT_MS_MAX: u64 = 60_000;
    /// Tokens of one acknowledgement.
    pub const TOKENS_MAX: usize = 10_000;
    /// What a member says of an event that it cannot handle.
    pub const ERROR_BYTES_MAX: usize = 4 * KIB;
    /// Deliveries, and sessions, if nothing else is said.
    pub const TIMEOUT_MS: u64 = 30_000;
    pub const TIMEOUT_MS_MIN: u64 = 100;
    /// Half a day: longer work extends its deliveries.
    pub const TIMEOUT_MS_MAX: u64 = 12 * 3_600_000;
    pub const SESSION_MS_MAX: u64 = 3_600_000;
    pub const COMMIT_MS: u64 = 1_000;
    pub const COMMIT_MS_MAX: u64 = 60_000;
    pub const DELIVERIES: u64 = 10;
    pub const RETRY_BASE_MS: u64 = 100;
    pub const RETRY_FACTOR: u64 = 2;
    pub const RETRY_FACTOR_MAX: u64 = 100;
    pub const RETRY_LONGEST_MS: u64 = 60_000;
    pub const RETRY_MS_MAX: u64 = 24 * 3_600_000;
    /// Ten years: how far ahead a message may be delayed, or expire.
    pub const DELAY_MS_MAX: u64 = 10 * 366 * 24 * 3_600_000;
    /// Dead letters that are listed, replayed or removed at once.
    pub const LETTERS_PAGE: usize = 100;
    /// Positions behind the end of the log from which on a group counts as degraded, and as unhealthy.
    pub const DEGRADED_LAG: u64 = 1_000;
    pub const UNHEALTHY_LAG: u64 = 10_000;
    /// Settled messages of a queue are removed from the log so long after the first of them was.
    pub const TRIM_AFTER_US: i64 = 1_000_000;
    /// Several hosts divide a group among them so often.
    pub const ROUND_US: i64 = 1_000_000;
    /// A host that was not heard of for the session timeout of a group is taken for dead, within these.
    pub const DEAD_AFTER_MIN: Duration = Duration::from_secs(3);
    pub const DEAD_AFTER_MAX: Duration = Duration::from_secs(30);
    /// What a host said of itself is removed that long after it was heard of last.
    pub const FORGET_HOST_AFTER: Duration = Duration::from_secs(3_600);
    /// Before a group that could not be loaded is tried again.
    pub const LOAD_RETRY: Duration = Duration::from_secs(1);
}

/// Durable timers.
pub mod timer {
    use std::time::Duration;

    /// Fired together: they share a few commits.
    pub const AT_ONCE: usize = 512;
    /// Between two looks for timers that other hosts have made: what they are late at most.
    pub const LOOK_EVERY: Duration = Duration::from_millis(100);
    /// After the store did not answer.
    pub const RETRY: Duration = Duration::from_secs(1);
}

/// Schedules.
pub mod schedule {
    use super::KIB;

    /// Of a cron expression.
    pub const CRON_BYTES_MAX: usize = 256;
    /// Between two firings of an interval.
    pub const EVERY_MS_MIN: u64 = 1_000;
    pub const EVERY_MS_MAX: u64 = 366 * 24 * 3_600_000;
    /// What is fired later than this counts as missed: a host that was busy is not meant.
    pub const LATE_US: i64 = 60_000_000;
    /// Of what is told of the last failure.
    pub const ERROR_BYTES_MAX: usize = KIB;
    /// Attempts to change one while others do.
    pub const TRIES_MAX: usize = 10;
}

/// Receipts.
pub mod receipt {
    use super::KIB;

    /// Of one call.
    pub const MARKS_MAX: usize = 1_000;
    /// Calls that wait to be written.
    pub const QUEUE_MAX: usize = 1_024;
    /// Calls that are written together.
    pub const CALLS_AT_ONCE: usize = 256;
    /// Of calls that are written together, unless one has more.
    pub const MARKS_AT_ONCE: usize = 8_192;
    /// Blocks that are read together.
    pub const BLOCKS_READ: usize = 64;
    /// Blocks of receipts that one look-up reads at most before it says where to go on.
    pub const BLOCKS_LOOKED_AT_MAX: usize = 1_024;
    /// Receipts of a page.
    pub const PAGE: usize = 1_000;
    /// Blocks that are remembered, so that a consumer that reads on costs no look-up; each is below 2 KiB.
    pub const BLOCKS_CACHED: usize = 4 * KIB;
    /// Attempts to write while other hosts do.
    pub const TRIES_MAX: usize = 10;
}

/// Sagas.
pub mod saga {
    use std::time::Duration;

    use super::{KIB, MIB};

    /// That have not ended: what the leading host knows of each is kept in memory if it waits for an event.
    pub const OPEN_MAX: usize = 1_000_000;
    /// That are driven at a time; the others queue. Each has an instance while a step of it runs.
    pub const DRIVEN_MAX: usize = 256;
    /// That are driven or queue for it, above which events start no more.
    pub const ACTIVE_MAX: usize = 4_096;
    /// Instances of one revision that are kept warm.
    pub const WARM_MAX: usize = 64;
    pub const INPUT_BYTES_MAX: usize = 256 * KIB;
    pub const CORRELATION_BYTES_MAX: usize = 200;
    /// What one step answers.
    pub const OUTPUT_BYTES_MAX: usize = 256 * KIB;
    /// Shared data of one saga.
    pub const DATA_BYTES_MAX: usize = 256 * KIB;
    pub const DATA_KEYS_MAX: usize = 256;
    pub const DATA_KEY_BYTES_MAX: usize = 256;
    /// Commits of one saga: one that suspends for ever is paused there, and can be resumed.
    pub const ROWS_MAX: u32 = 10_000;
    pub const NOTE_BYTES_MAX: usize = KIB;
    pub const STARTS_MAX: usize = 32;

    pub const ATTEMPTS: u32 = 5;
    pub const COMPENSATION_ATTEMPTS: u32 = 20;
    pub const ATTEMPTS_MAX: u32 = 1_000;
    pub const RETRY_BASE_MS: u64 = 100;
    pub const RETRY_FACTOR: u64 = 2;
    pub const RETRY_FACTOR_MAX: u64 = 100;
    pub const RETRY_LONGEST_MS: u64 = 60_000;
    pub const RETRY_MS_MAX: u64 = 24 * 3_600_000;
    pub const JITTER_PERCENT: u8 = 20;
    pub const ATTEMPT_MS: u64 = 30_000;
    pub const ATTEMPT_MS_MIN: u64 = 10;
    pub const ATTEMPT_MS_MAX: u64 = 3_600_000;
    /// Ten years.
    pub const TIMEOUT_MS_MAX: u64 = 10 * 366 * 24 * 3_600_000;

    /// Lines of its log that an attempt keeps on the timeline.
    pub const LINES_OF_ATTEMPT_MAX: usize = 20;
    /// Requests that one attempt may send, each redirect included.
    pub const CALLS_OF_ATTEMPT_MAX: usize = 64;
    pub const REQUEST_BYTES_MAX: usize = MIB;
    pub const RESPONSE_BYTES_MAX: usize = MIB;
    pub const HEADERS_BYTES_MAX: usize = 32 * KIB;
    pub const URL_BYTES_MAX: usize = 8 * KIB;
    /// What stands of one on the timeline, 64 times an attempt.
    pub const URL_SHOWN_BYTES_MAX: usize = 300;
    pub const SECRET_NAME_BYTES_MAX: usize = super::plugin::NAME_BYTES_MAX;
    pub const REDIRECTS_MAX: usize = 5;

    /// Events that the feed looks at together, and positions that its stored place may lag behind.
    pub const FEED_EVENTS: usize = 1_024;
    pub const FEED_LAG_MAX: u64 = 4_096;
    /// Sagas that one page of a list looks at, and returns.
    pub const LOOKED_AT_MAX: usize = 10_000;
    pub const PAGE: usize = 1_000;
    /// Attempts to change one while something else does.
    pub const TRIES_MAX: usize = 50;
    /// How long sagas that have ended are kept if their plugin says nothing: 30 days.
    pub const KEEP_ENDED_MS: u64 = 30 * 24 * 3_600_000;
    /// Between two looks for those whose time is over, and how many one look forgets.
    pub const SWEEP_EVERY_US: i64 = 60_000_000;
    pub const SWEPT_MAX: usize = 1_000;
    /// A call that waits for the end of a saga; who wants to wait longer asks again.
    pub const WAIT_MS_MAX: u64 = 60_000;
    /// After the store did not answer.
    pub const RETRY: Duration = Duration::from_secs(1);
    /// Between two looks for what other hosts have changed.
    pub const LOOK_EVERY: Duration = Duration::from_millis(100);
}

/// Replays.
pub mod replay {
    use std::time::Duration;

    /// That are known at a time, those included that are over and not forgotten.
    pub const REPLAYS_MAX: usize = 1_000;
    /// Of those that are over, in microseconds.
    pub const KEPT_US: i64 = 24 * 3_600_000_000;
    /// Handed over together.
    pub const PAGE_EVENTS: usize = 256;
    pub const PER_SECOND_MAX: u64 = 10_000_000;
    /// Times the original speed.
    pub const SPEED_MIN: f64 = 0.001;
    pub const SPEED_MAX: f64 = 1_000_000.0;
    /// How much of its rate a replay may make up for when it was held up: a burst would hurt its neighbours.
    pub const BURST_US: i64 = 100_000;
    /// What a limited replay hands over at once: so many microseconds of its rate.
    pub const SLICE_US: i64 = 10_000;
    /// Between two looks whether somebody has changed it on another host, and between two notes of how far it is.
    pub const LOOK_EVERY_US: i64 = 1_000_000;
    /// Before a group that has enough to do is asked again, or a host for what it has not heard of.
    pub const FULL_PAUSE_US: i64 = 50_000;
    /// Positions without an event of the replay, after which it is noted how far it is.
    pub const NOTE_POSITIONS: u64 = 10_000;
    /// After the store did not answer.
    pub const RETRY: Duration = Duration::from_secs(1);
    /// Attempts to change one while others do.
    pub const TRIES_MAX: usize = 10;
}

/// Bounds of plugins.
pub mod plugin {
    use super::{KIB, MIB};

    pub const COMPONENT_BYTES_MAX: usize = 64 * MIB;
    pub const DESCRIPTOR_BYTES_MAX: usize = 64 * KIB;
    pub const NAME_BYTES_MAX: usize = 64;
    pub const VERSION_BYTES_MAX: usize = 64;
    pub const DESCRIPTION_BYTES_MAX: usize = 1_000;
    pub const SUBSCRIPTIONS_MAX: usize = 32;
    pub const COLLECTIONS_MAX: usize = 64;
    /// Settings, schemas or steps of one plugin.
    pub const ENTRIES_MAX: usize = 64;
    /// Lifts of one upcaster. A specification raises the versions of all its types at once: CDEvents has some
    /// fifty of them, in three versions.
    pub const LIFTS_MAX: usize = 256;
    pub const CAPABILITIES_MAX: usize = 16;
    /// Each index costs a document more for each document that changes.
    pub const INDEXES_MAX: usize = 16;
    pub const FIELD_BYTES_MAX: usize = 200;
    /// What an index holds of a text: longer ones sort by their beginnings.
    pub const INDEX_TEXT_CHARS_MAX: usize = 100;
    /// An entry of an index: a value, and the key of the document that holds it.
    pub const INDEX_KEY_BYTES_MAX: usize = 1_024;
    pub const SETTING_BYTES_MAX: usize = 8 * KIB;
    /// Plugins deployed at one time; each holds at least one warm instance.
    pub const PLUGINS_MAX: usize = 256;

    /// Batch of one guest call: 128 is where every language stops gaining (measured).
    pub const CALL_EVENTS_MAX: usize = 256;
    pub const CALL_BYTES_MAX: usize = MIB;
    /// Events behind one durable checkpoint during catch-up: a document that many of them touch is
    /// written once, and one fsync serves all.
    pub const CHECKPOINT_EVENTS_MAX: usize = 4_096;
    /// Positions a checkpoint may lag in memory when no document changed.
    pub const CHECKPOINT_LAG_MAX: u64 = 10_000;

    /// What one call of a handler may emit: it has to fit in an append each stream.
    pub const OUTBOX_EVENTS_MAX: usize = 1_000;
    pub const OUTBOX_BYTES_MAX: usize = 3 * MIB;

    pub const DOCUMENT_BYTES_MAX: usize = 256 * KIB;
    pub const DOCUMENT_KEY_BYTES_MAX: usize = 512;
    /// Uncommitted documents of one checkpoint.
    pub const OVERLAY_BYTES_MAX: usize = 32 * MIB;
    pub const DOCUMENT_CACHE_BYTES_MAX: usize = 64 * MIB;
    /// Entries of one `scan` page.
    pub const SCAN_ENTRIES_MAX: usize = 1_000;
    pub const SCAN_BYTES_MAX: usize = 4 * MIB;

    /// Of two documents that are held against each other, so many places are named.
    pub const DIFFERENT_PATHS_MAX: usize = 20;

    pub const LOG_LINES_MAX: usize = 1_000;
    pub const LOG_LINE_BYTES_MAX: usize = 4 * KIB;
    /// Lines that one call may write; the rest are counted and dropped.
    pub const LOG_LINES_PER_CALL_MAX: usize = 100;

    /// Attempts at an event before it counts as failed.
    pub const ATTEMPTS: u32 = 8;
    pub const ATTEMPTS_MAX: u64 = 1_000;
    pub const RETRY_BASE_MS: u64 = 100;
    pub const RETRY_FACTOR: u64 = 2;
    pub const RETRY_FACTOR_MAX: u64 = 100;
    pub const RETRY_LONGEST_MS: u64 = 30_000;
    /// A day.
    pub const RETRY_MS_MAX: u64 = 86_400_000;
    pub const POLL_MS_MAX: u64 = 3_600_000;
    pub const BUILD_RATE_MAX: u64 = 10_000_000;
    /// Each is a task with a warm instance.
    pub const PARTITIONS_MAX: u64 = 16;
    pub const MEMORY_BYTES_MIN: u64 = MIB as u64;
    /// What Python and StarlingMonkey ask for.
    pub const MEMORY_BYTES_MAX: u64 = 256 * MIB as u64;
    /// An instance is replaced after so many calls, so that what it leaks is bounded.
    pub const CALLS_OF_INSTANCE_MAX: u32 = 100_000;
    /// How long a read model that served before is kept up to date.
    pub const STANDBY_US: i64 = 24 * 3_600_000_000;

    /// Events that a new revision is tried on, several times over.
    pub const SAMPLE_EVENTS: usize = 200;

    /// Versions that one event may be lifted through.
    pub const LIFTS_OF_EVENT_MAX: usize = 64;
    /// Lifted events that are remembered.
    pub const LIFTED_CACHE_BYTES_MAX: usize = 32 * MIB;
}
