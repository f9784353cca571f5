-- The log, its read models and the plugins that build them. The tables are those of migrations/sqlite,
-- and what there is beyond them is for several hosts that share one database.
--
-- Times are microseconds since the Unix epoch, UTC. Texts compare byte by byte ("C").

create table log_head (
    -- There is one log, and so one row.
    id smallint not null
        constraint log_head_pk primary key
        constraint log_head_is_single check (id = 1),
    -- Tells this log from every other; part of resume tokens.
    log_id uuid not null,
    -- Raised by whoever restores a backup: tokens from before it no longer resume.
    restore_epoch bigint not null constraint log_head_restore_epoch_counts check (restore_epoch >= 0),
    next_position bigint not null constraint log_head_next_position_counts check (next_position >= 0),
    next_stream_id bigint not null,
    -- Counts removals of events and changes of stream configurations.
    revision bigint not null constraint log_head_revision_counts check (revision >= 0),
    -- Counts transactions that touched the log or a stream: a host that knows the newest one knows all.
    version bigint not null,
    -- recorded_at of the newest event: times never step back.
    recorded_at bigint not null,
    created_at bigint not null
) with (fillfactor = 10);

-- The hosts that use this database. Every transaction of a host's writer begins with its row, so that a
-- writer that lost its connection can find out what became of its last transaction.
create table host (
    id uuid not null constraint host_pk primary key,
    -- Raised when the host connects its writer anew: what an older connection still runs then fails.
    epoch bigint not null,
    -- Number of the last group that was committed.
    last_commit bigint not null,
    started_at timestamptz not null default now()
) with (fillfactor = 10);

create table host_seen (
    id uuid not null constraint host_seen_pk primary key,
    seen_at timestamptz not null default now()
) with (fillfactor = 50);

create table stream (
    id bigint not null constraint stream_pk primary key,
    name text collate "C" not null
        constraint stream_name_is_unique unique
        constraint stream_name_length check (octet_length(name) between 1 and 200),
    state text not null constraint stream_state_is_known check (state in ('live', 'deleted', 'tombstoned')),
    -- Oldest offset that is stored.
    first_offset bigint not null,
    -- Events below it are hidden and wait to be removed.
    truncate_before bigint not null,
    -- The number of events ever appended.
    next_offset bigint not null constraint stream_offsets_in_order check (next_offset >= first_offset),
    -- Encoded size of its stored events.
    bytes bigint not null constraint stream_bytes_count check (bytes >= 0),
    -- recorded_at of its first event ever.
    created_at bigint not null,
    -- recorded_at of its oldest stored event, or of its last one ever.
    first_recorded_at bigint not null,
    last_recorded_at bigint not null,
    last_position bigint not null
) with (fillfactor = 80);

-- One row an append, not one an event.
create table chunk (
    first_position bigint not null constraint chunk_pk primary key,
    event_count integer not null constraint chunk_event_count_is_bounded check (event_count between 1 and 1000),
    stream_id bigint not null,
    first_offset bigint not null,
    recorded_at bigint not null,
    -- CRC-32 of the run and of the row's numbers; see chunk.rs.
    crc bigint not null constraint chunk_crc_is_32_bits check (crc between 0 and 4294967295),
    -- The events, each as field 1 of a protobuf message: what a reader gets over gRPC.
    run bytea not null constraint chunk_run_is_bounded check (octet_length(run) between 1 and 16777216),
    constraint chunk_stream_offset_is_unique unique (stream_id, first_offset)
);
-- Not compressed: a publisher waits for it.
alter table chunk alter column run set storage external;

-- Finds an event by its id, and makes an append of a known id fail.
create table event_id (
    id uuid not null constraint event_id_pk primary key,
    position bigint not null
);

-- Finds the chunks that hold a term; see migrations/sqlite.
create table posting (
    term bigint not null,
    first_position bigint not null,
    constraint posting_pk primary key (term, first_position)
);

create table event_type (
    name text collate "C" not null
        constraint event_type_pk primary key
        constraint event_type_length check (octet_length(name) between 1 and 200)
);

-- Events that were removed, a row for those of one chunk.
create table removed (
    first_position bigint not null constraint removed_pk primary key,
    stream_id bigint not null,
    first_offset bigint not null,
    recorded_at bigint not null,
    removed_at bigint not null,
    ids uuid[] not null constraint removed_ids_are_some check (cardinality(ids) > 0)
);

create table stream_config (
    exact boolean not null,
    pattern text collate "C" not null
        constraint stream_config_pattern_length check (octet_length(pattern) between 1 and 200),
    -- JSON.
    config text not null constraint stream_config_length check (octet_length(config) <= 65536),
    constraint stream_config_pk primary key (exact, pattern)
);

create table component (
    -- Of its bytes, lower-case hex.
    sha256 text collate "C" not null
        constraint component_pk primary key
        constraint component_sha256_length check (octet_length(sha256) between 1 and 64),
    bytes bytea not null constraint component_size check (octet_length(bytes) <= 67108864)
);

create table plugin (
    name text collate "C" not null
        constraint plugin_pk primary key
        constraint plugin_name_length check (octet_length(name) between 1 and 64),
    kind text not null
        constraint plugin_kind_is_known check (kind in ('projection', 'handler', 'upcaster', 'saga')),
    -- Number of the revision that it runs now.
    revision bigint not null,
    created_at bigint not null
);

create table revision (
    plugin text collate "C" not null constraint revision_plugin_fk references plugin (name),
    -- From 1, counted for each plugin.
    number bigint not null constraint revision_number_counts check (number >= 1),
    kind text not null
        constraint revision_kind_is_known check (kind in ('projection', 'handler', 'upcaster', 'saga')),
    sha256 text collate "C" not null constraint revision_component_fk references component (sha256),
    -- What the plugin said of itself: JSON, see wit/descriptor.schema.json.
    descriptor text not null constraint revision_descriptor_length check (octet_length(descriptor) <= 1048576),
    -- Configuration and grants: JSON.
    setup text not null constraint revision_setup_length check (octet_length(setup) <= 1048576),
    deployed_at bigint not null,
    constraint revision_pk primary key (plugin, number)
);

-- One build of a projection's read model. No foreign key to its plugin, which it outlives until its
-- documents are removed.
create table generation (
    id bigint not null constraint generation_pk primary key,
    plugin text collate "C" not null constraint generation_plugin_length check (octet_length(plugin) between 1 and 64),
    revision bigint not null,
    state text not null
        constraint generation_state_is_known check (state in ('building', 'serving', 'standby', 'retired')),
    -- The next position that it has to read.
    checkpoint bigint not null constraint generation_checkpoint_counts check (checkpoint >= 0),
    -- Number of the set of upcasters that it reads through; 0 is none.
    lifts bigint not null constraint generation_lifts_counts check (lifts >= 0),
    created_at bigint not null
) with (fillfactor = 50);

-- Generation 0 is the host's own. A collection `$index/...` holds the entries of an index, which are longer than the
-- keys that they lead to.
create table document (
    generation bigint not null,
    collection text collate "C" not null constraint document_collection_length check (octet_length(collection) <= 300),
    key text collate "C" not null constraint document_key_length check (octet_length(key) <= 1024),
    value bytea not null constraint document_value_size check (octet_length(value) <= 2097152),
    constraint document_pk primary key (generation, collection, key)
) with (fillfactor = 80);
