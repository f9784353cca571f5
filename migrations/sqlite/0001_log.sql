-- The log, its read models and the plugins that build them.
--
-- Times are microseconds since the Unix epoch, UTC. The file holds UTF-8, so text compares byte by byte.
-- Rows of the log are written by one statement a group and never changed; what is derived from them
-- (stream, log_head, event_id) is written in the same transaction.

-- Names the file's kind in its header ("WSML"), so that another program's database is not migrated by mistake.
pragma application_id = 1465077068;

create table log_head (
    -- There is one log, and so one row.
    id integer not null
        constraint log_head_pk primary key
        constraint log_head_is_single check (id = 1),
    -- Tells this log from every other; part of resume tokens.
    log_id blob not null constraint log_head_log_id_is_uuid check (length(log_id) = 16),
    -- Raised by whoever restores a backup: tokens from before it no longer resume.
    restore_epoch integer not null constraint log_head_restore_epoch_counts check (restore_epoch >= 0),
    next_position integer not null constraint log_head_next_position_counts check (next_position >= 0),
    -- Counts removals of events and changes of stream configurations.
    revision integer not null constraint log_head_revision_counts check (revision >= 0),
    -- recorded_at of the newest event: times never step back.
    recorded_at integer not null,
    created_at integer not null
) strict;

create table stream (
    id integer not null constraint stream_pk primary key,
    name text not null
        constraint stream_name_is_unique unique
        constraint stream_name_length check (octet_length(name) between 1 and 200),
    state text not null constraint stream_state_is_known check (state in ('live', 'deleted', 'tombstoned')),
    -- Oldest offset that is stored.
    first_offset integer not null,
    -- Events below it are hidden and wait to be removed.
    truncate_before integer not null,
    -- The number of events ever appended.
    next_offset integer not null constraint stream_offsets_in_order check (next_offset >= first_offset),
    -- Encoded size of its stored events.
    bytes integer not null constraint stream_bytes_count check (bytes >= 0),
    -- recorded_at of its first event ever.
    created_at integer not null,
    -- recorded_at of its oldest stored event, or of its last one ever.
    first_recorded_at integer not null,
    last_recorded_at integer not null,
    last_position integer not null
) strict;

-- One row an append, not one an event: a quarter of the time to write and to read.
create table chunk (
    first_position integer not null constraint chunk_pk primary key,
    event_count integer not null constraint chunk_event_count_is_bounded check (event_count between 1 and 1000),
    -- No foreign key: it would cost a look-up for each append, and streams are never removed before their chunks.
    stream_id integer not null,
    first_offset integer not null,
    recorded_at integer not null,
    -- CRC-32 of the run and of the row's numbers; see chunk.rs.
    crc integer not null constraint chunk_crc_is_32_bits check (crc between 0 and 4294967295),
    -- The events, each as field 1 of a protobuf message: what a reader gets over gRPC.
    run blob not null constraint chunk_run_is_bounded check (length(run) between 1 and 16777216),
    constraint chunk_stream_offset_is_unique unique (stream_id, first_offset)
) strict;

-- Finds an event by its id, and makes an append of a known id fail.
create table event_id (
    id blob not null
        constraint event_id_pk primary key
        constraint event_id_is_uuid check (length(id) = 16),
    position integer not null
) strict, without rowid;

-- Finds the chunks that hold a term: an event type, a key, a tag, a correlation id, or the category of
-- the stream. One row for each term of a chunk, however many of its events have it.
create table posting (
    -- Hash of the term's kind and text; see term.rs. What is found is looked at again, so that two terms
    -- of one hash cost time and nothing else.
    term integer not null,
    first_position integer not null,
    constraint posting_pk primary key (term, first_position)
) strict, without rowid;

-- Every event type ever appended, so that patterns of types can be looked up.
create table event_type (
    name text not null
        constraint event_type_pk primary key
        constraint event_type_length check (octet_length(name) between 1 and 200)
) strict, without rowid;

-- Events that were removed, a row for those of one chunk: while it is here, a publisher that repeats
-- one of them gets its first answer.
create table removed (
    first_position integer not null constraint removed_pk primary key,
    stream_id integer not null,
    first_offset integer not null,
    recorded_at integer not null,
    removed_at integer not null,
    -- 16 bytes an event.
    ids blob not null constraint removed_ids_are_uuids check (length(ids) > 0 and length(ids) % 16 = 0)
) strict;

-- How streams are to be treated: a stream of this name, or all that match.
create table stream_config (
    exact integer not null constraint stream_config_exact_is_boolean check (exact in (0, 1)),
    pattern text not null constraint stream_config_pattern_length check (octet_length(pattern) between 1 and 200),
    -- JSON.
    config text not null constraint stream_config_length check (octet_length(config) <= 65536),
    constraint stream_config_pk primary key (exact, pattern)
) strict, without rowid;

create table component (
    -- Of its bytes, lower-case hex.
    sha256 text not null
        constraint component_pk primary key
        constraint component_sha256_length check (octet_length(sha256) between 1 and 64),
    bytes blob not null constraint component_size check (length(bytes) <= 67108864)
) strict;

create table plugin (
    name text not null
        constraint plugin_pk primary key
        constraint plugin_name_length check (octet_length(name) between 1 and 64),
    kind text not null
        constraint plugin_kind_is_known check (kind in ('projection', 'handler', 'upcaster', 'saga')),
    -- Number of the revision that it runs now.
    revision integer not null,
    created_at integer not null
) strict;

create table revision (
    plugin text not null constraint revision_plugin_fk references plugin (name),
    -- From 1, counted for each plugin.
    number integer not null constraint revision_number_counts check (number >= 1),
    kind text not null
        constraint revision_kind_is_known check (kind in ('projection', 'handler', 'upcaster', 'saga')),
    sha256 text not null constraint revision_component_fk references component (sha256),
    -- What the plugin said of itself: JSON, see wit/descriptor.schema.json.
    descriptor text not null constraint revision_descriptor_length check (octet_length(descriptor) <= 1048576),
    -- Configuration and grants: JSON.
    setup text not null constraint revision_setup_length check (octet_length(setup) <= 1048576),
    deployed_at integer not null,
    constraint revision_pk primary key (plugin, number)
) strict;

-- One build of a projection's read model. No foreign key to its plugin, which it outlives until its
-- documents are removed.
create table generation (
    id integer not null constraint generation_pk primary key,
    plugin text not null constraint generation_plugin_length check (octet_length(plugin) between 1 and 64),
    revision integer not null,
    state text not null
        constraint generation_state_is_known check (state in ('building', 'serving', 'standby', 'retired')),
    -- The next position that it has to read.
    checkpoint integer not null constraint generation_checkpoint_counts check (checkpoint >= 0),
    -- Number of the set of upcasters that it reads through; 0 is none.
    lifts integer not null constraint generation_lifts_counts check (lifts >= 0),
    created_at integer not null
) strict;

-- A table with an index, not one without rowid: a new value for an old key, which is what projections
-- write most, then touches one page of values and none of keys (measured: 1.5 to 4 times as fast).
-- Generation 0 is the host's own. A collection `$index/...` holds the entries of an index, which are longer than the
-- keys that they lead to.
create table document (
    generation integer not null,
    collection text not null constraint document_collection_length check (octet_length(collection) <= 300),
    key text not null constraint document_key_length check (octet_length(key) <= 1024),
    value blob not null constraint document_value_size check (length(value) <= 2097152),
    constraint document_key_is_unique unique (generation, collection, key)
) strict;
