-- The log for people and tools that speak SQL: one row an event, with JSON data as `jsonb`. The host itself
-- does not use it. Unpacking costs about ten microseconds an event, so give it a stream, or a range of
-- `chunk_position`, which both have an index:
--
--     select position, type, json ->> 'total' from event where stream = 'order-7';
--     select type, count(*) from event where chunk_position between 1000000 and 1100000 group by type;

-- The JSON that bytes hold; null if they hold none. What catches errors cannot run in parallel.
create function wasmill_json(data bytea) returns jsonb
language plpgsql immutable strict parallel unsafe as $$
begin
    return convert_from(data, 'UTF8')::jsonb;
exception when others then
    return null;
end $$;

-- The events of a chunk's run; see host/server/proto/wasmill/v1/event.proto.
create function wasmill_events(run bytea) returns table (
    "position" bigint, "offset" bigint, id uuid, type text, schema_version integer, key text,
    "time" timestamptz, recorded_at timestamptz, content_type text, data bytea, tags text[], headers jsonb,
    workflow_id text, correlation_id text, causation_id text, traceparent text
)
language plpgsql immutable strict parallel safe as $$
declare
    -- A copy in memory: each look at a value that is stored elsewhere would fetch all of it.
    bytes constant bytea := run || ''::bytea;
    size constant integer := octet_length(bytes);
    epoch constant timestamptz := to_timestamp(0);
    at integer := 0;
    event_end integer;
    number bigint;
    shift integer;
    byte integer;
    field integer;
    wire_type integer;
    value bytea;
    entry_key_length integer;
begin
    while at < size loop
        -- Field 1 of the run: one byte, then the length of the event.
        at := at + 1;
        number := 0; shift := 0;
        loop
            byte := get_byte(bytes, at); at := at + 1;
            number := number | ((byte & 127)::bigint << shift);
            exit when byte < 128;
            shift := shift + 7;
        end loop;
        event_end := at + number;
        "position" := 0; "offset" := 0; schema_version := 1; content_type := 'application/json';
        "time" := epoch; recorded_at := epoch; data := ''; tags := '{}'; headers := '{}';
        id := null; type := null; key := null;
        workflow_id := null; correlation_id := null; causation_id := null; traceparent := null;
        while at < event_end loop
            number := 0; shift := 0;
            loop
                byte := get_byte(bytes, at); at := at + 1;
                number := number | ((byte & 127)::bigint << shift);
                exit when byte < 128;
                shift := shift + 7;
            end loop;
            field := number >> 3;
            wire_type := number & 7;
            number := 0; shift := 0;
            loop
                byte := get_byte(bytes, at); at := at + 1;
                number := number | ((byte & 127)::bigint << shift);
                exit when byte < 128;
                shift := shift + 7;
            end loop;
            if wire_type = 2 then
                value := substring(bytes from at + 1 for number::integer);
                at := at + number;
            end if;
            case field
                when 1 then "position" := number;
                when 2 then "offset" := number;
                when 4 then id := convert_from(value, 'UTF8')::uuid;
                when 5 then type := convert_from(value, 'UTF8');
                when 6 then schema_version := number;
                when 7 then key := convert_from(value, 'UTF8');
                when 8 then "time" := epoch + number * interval '1 microsecond';
                when 9 then recorded_at := epoch + number * interval '1 microsecond';
                when 10 then content_type := convert_from(value, 'UTF8');
                when 11 then data := value;
                when 12 then tags := tags || convert_from(value, 'UTF8');
                when 13 then
                    -- An entry: field 1 is the name, field 2 the text. Names are shorter than 8 KiB, so their
                    -- lengths have one or two bytes.
                    entry_key_length := get_byte(value, 1);
                    if entry_key_length < 128 then
                        value := substring(value from 3);
                    else
                        entry_key_length := (entry_key_length & 127) | (get_byte(value, 2) << 7);
                        value := substring(value from 4);
                    end if;
                    headers := headers || jsonb_build_object(
                        convert_from(substring(value from 1 for entry_key_length), 'UTF8'),
                        convert_from(substring(value from entry_key_length + case
                            when octet_length(value) - entry_key_length - 2 < 128 then 3 else 4 end), 'UTF8'));
                when 14 then workflow_id := convert_from(value, 'UTF8');
                when 15 then correlation_id := convert_from(value, 'UTF8');
                when 16 then causation_id := convert_from(value, 'UTF8');
                when 17 then traceparent := convert_from(value, 'UTF8');
                else null;
            end case;
        end loop;
        return next;
    end loop;
end $$;

create view event as
select e."position", e."offset", s.name as stream, e.id, e.type, e.schema_version, e.key, e."time", e.recorded_at,
    e.tags, e.headers, e.workflow_id, e.correlation_id, e.causation_id, e.traceparent, e.content_type, e.data,
    case when e.content_type = 'application/json' then wasmill_json(e.data) end as json,
    c.first_position as chunk_position
from chunk c
join stream s on s.id = c.stream_id
cross join lateral wasmill_events(c.run) e;
