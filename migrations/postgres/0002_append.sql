-- What a writer does in one round trip. Errors of class WM are the host's own; see error.rs.

-- Begins a group: fails if the host has connected its writer anew meanwhile.
create function wasmill_begin(host_id uuid, host_epoch bigint, commit_number bigint) returns void
language plpgsql as $$
begin
    update host set last_commit = commit_number where id = host_id and epoch = host_epoch;
    if not found then
        raise exception 'this connection is no longer the one of host %', host_id using errcode = 'WM002';
    end if;
end $$;

-- Takes the head for this transaction. Until it ends no other host can append, so that places appear
-- in the order of commits.
create function wasmill_lock(host_id uuid, host_epoch bigint, commit_number bigint)
returns table (next_position bigint, next_stream_id bigint, version bigint, recorded_at bigint)
language plpgsql as $$
begin
    perform wasmill_begin(host_id, host_epoch, commit_number);
    return query select h.next_position, h.next_stream_id, h.version, h.recorded_at from log_head h for update;
end $$;

-- Moves the head, if it is where the writer believes it to be, and takes it for this transaction.
create function wasmill_move(expected_version bigint, to_position bigint, to_stream_id bigint, to_recorded_at bigint)
returns void
language plpgsql as $$
begin
    update log_head set next_position = to_position, next_stream_id = to_stream_id,
        recorded_at = to_recorded_at, version = version + 1
    where version = expected_version;
    if not found then
        raise exception 'another host has appended' using errcode = 'WM001';
    end if;
end $$;

-- Writes what a group appends.
create function wasmill_write(
    ids uuid[], first_position bigint,
    chunk_positions bigint[], event_counts integer[], stream_ids bigint[], first_offsets bigint[],
    recorded_ats bigint[], crcs bigint[], runs bytea[],
    terms bigint[], term_positions bigint[],
    row_ids bigint[], row_names text[], row_next_offsets bigint[], row_bytes bigint[],
    row_first_recorded_ats bigint[], row_last_recorded_ats bigint[], row_last_positions bigint[],
    types text[]
) returns void
language plpgsql as $$
begin
    insert into event_id (id, position)
    select u.id, first_position + u.n - 1 from unnest(ids) with ordinality u (id, n);

    insert into chunk (first_position, event_count, stream_id, first_offset, recorded_at, crc, run)
    select * from unnest(chunk_positions, event_counts, stream_ids, first_offsets, recorded_ats, crcs, runs);

    insert into posting (term, first_position) select * from unnest(terms, term_positions);

    insert into stream as s (id, name, state, first_offset, truncate_before, next_offset, bytes, created_at,
        first_recorded_at, last_recorded_at, last_position)
    select u.id, u.name, 'live', 0, 0, u.next_offset, u.bytes, u.first_recorded_at,
        u.first_recorded_at, u.last_recorded_at, u.last_position
    from unnest(row_ids, row_names, row_next_offsets, row_bytes, row_first_recorded_ats, row_last_recorded_ats,
        row_last_positions) u (id, name, next_offset, bytes, first_recorded_at, last_recorded_at, last_position)
    on conflict (id) do update set
        state = 'live',
        first_recorded_at = case when s.first_offset < s.next_offset
            then s.first_recorded_at else excluded.first_recorded_at end,
        next_offset = excluded.next_offset,
        bytes = s.bytes + excluded.bytes,
        last_recorded_at = excluded.last_recorded_at,
        last_position = excluded.last_position;

    if cardinality(types) > 0 then
        insert into event_type (name) select * from unnest(types) on conflict do nothing;
    end if;
end $$;

-- Wakes the other hosts, if there are any.
create function wasmill_notify(host_id uuid) returns void
language plpgsql as $$
begin
    if exists (select from host_seen where id <> host_id) then
        perform pg_notify('wasmill', host_id::text);
    end if;
end $$;

-- A whole group of appends as one statement, and so as one transaction.
create function wasmill_append(
    host_id uuid, host_epoch bigint, commit_number bigint,
    expected_version bigint, to_position bigint, to_stream_id bigint, to_recorded_at bigint,
    ids uuid[], first_position bigint,
    chunk_positions bigint[], event_counts integer[], stream_ids bigint[], first_offsets bigint[],
    recorded_ats bigint[], crcs bigint[], runs bytea[],
    terms bigint[], term_positions bigint[],
    row_ids bigint[], row_names text[], row_next_offsets bigint[], row_bytes bigint[],
    row_first_recorded_ats bigint[], row_last_recorded_ats bigint[], row_last_positions bigint[],
    types text[]
) returns void
language plpgsql as $$
begin
    perform wasmill_begin(host_id, host_epoch, commit_number);
    perform wasmill_move(expected_version, to_position, to_stream_id, to_recorded_at);
    perform wasmill_write(ids, first_position, chunk_positions, event_counts, stream_ids, first_offsets,
        recorded_ats, crcs, runs, terms, term_positions, row_ids, row_names, row_next_offsets, row_bytes,
        row_first_recorded_ats, row_last_recorded_ats, row_last_positions, types);
    perform wasmill_notify(host_id);
end $$;
