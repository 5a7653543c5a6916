"""Our indexes on LangGraph's tables, the msgpack decoder and the `checkpoint` view."""

requires = ("external:langgraph",)

# A percent sign is doubled: the driver reads a single one as a parameter.
UP = (
    "CREATE INDEX idx_checkpoints_thread_checkpoint ON checkpoints (thread_id, checkpoint_id)",
    "CREATE INDEX idx_checkpoint_parent_id ON checkpoints (parent_checkpoint_id)",
    r"""
-- MessagePack, as LangGraph's JsonPlusSerializer writes it, read as JSON.
--
-- Loops with an explicit stack and collects JSON text that is cast once at the end: jsonb
-- concatenated in a loop is quadratic, and recursion in PL/pgSQL is bounded by max_stack_depth.
--
-- The functions are named without a schema and must work under every search_path, pg_restore's
-- empty one included. PL/pgSQL resolves names when it runs, so its functions call pg_catalog only
-- and pin their path (nothing is lost: PL/pgSQL is never inlined); the SQL function at the end has
-- a parsed body, which holds its callees by identity.
--
-- PARALLEL UNSAFE: one EXCEPTION block per blob turns whatever is malformed into JSON, and before
-- PostgreSQL 17 the subtransaction that this takes cannot start during a parallel query, not even
-- in its leader, so RESTRICTED is not enough.
create or replace function foundry_msgpack(blob bytea) returns jsonb
language plpgsql immutable strict parallel unsafe cost 10000
set search_path = pg_catalog, pg_temp
set extra_float_digits = 1
as $function$
declare
    data constant bytea := blob || ''::bytea;  -- get_byte() would detoast the argument each time
    size constant int := octet_length(data);
    deepest constant int := 5000;  -- jsonb itself gives up soon after 9,000 with 2 MB of stack
    pos int := 0;
    code int;
    ext int;
    ends int;
    names text[];
    shape text;     -- of the value at hand: s string, b bytes, a array, m map, x extension
    width int;
    len bigint;
    part bytea;
    bits bigint;
    exponent int;
    scale int;
    number float8;
    is_key boolean;
    piece text;
    pieces text[] := '{}';
    separator text := '';
    -- The open frame: t the whole, a array, m map, n map inside an object that is already open,
    -- x extension, f extension whose argument's entries stand beside its "$type". A map counts
    -- keys and values, so an even number left means that a key comes next.
    frame text := 't';
    todo bigint := 1;
    until int;      -- where an extension ends
    began int;      -- how many pieces came before this frame, for one that is a map's key
    key_depth int := 0;
    depth int := 0;
    frames text[] := '{}';
    todos bigint[] := '{}';
    untils int[] := '{}';
    begans int[] := '{}';
begin
    loop
        while todo = 0 and depth > 0 loop
            if until is not null then
                -- What may follow the argument is the name of the method that takes it.
                if pos < until and get_byte(data, pos) between 160 and 191 then
                    pos := pos + 1 + (get_byte(data, pos) & 31);
                end if;
                if pos <> until then
                    raise exception 'extension that ends at byte %% was read up to %%', until, pos;
                end if;
            end if;
            pieces := pieces || case frame when 'a' then ']' when 'n' then '' else '}' end;
            if began is not null then
                piece := '';
                for i in began + 1 .. cardinality(pieces) loop
                    piece := piece || pieces[i];
                    pieces[i] := '';
                end loop;
                key_depth := key_depth - 1;
                pieces[began + 1] := to_json(piece::jsonb #>> '{}')::text;
            end if;
            separator := case when began is null then ',' else ':' end;
            frame := frames[depth];
            todo := todos[depth];
            until := untils[depth];
            began := begans[depth];
            depth := depth - 1;
        end loop;
        exit when todo = 0;

        is_key := todo & 1 = 0 and frame in ('m', 'n');
        todo := todo - 1;
        code := get_byte(data, pos);
        pos := pos + 1;
        shape := '';
        width := 0;
        if code between 160 and 191 then
            shape := 's';
            len := code & 31;
        elsif code < 128 then
            piece := code::text;
        elsif code > 223 then
            piece := (code - 256)::text;
        elsif code < 144 then
            shape := 'm';
            len := code & 15;
        elsif code < 160 then
            shape := 'a';
            len := code & 15;
        elsif code in (217, 218, 219) then
            shape := 's';
            width := 1 << (code - 217);
        elsif code in (220, 221) then
            shape := 'a';
            width := 2 << (code - 220);
        elsif code in (222, 223) then
            shape := 'm';
            width := 2 << (code - 222);
        elsif code in (196, 197, 198) then
            shape := 'b';
            width := 1 << (code - 196);
        elsif code in (199, 200, 201) then
            shape := 'x';
            width := 1 << (code - 199);
        elsif code between 212 and 216 then
            shape := 'x';
            len := 1 << (code - 212);
        elsif code between 202 and 211 then
            width := case code when 202 then 4 when 203 then 8 else 1 << (code & 3) end;
        elsif code = 192 then
            piece := 'null';
        elsif code = 193 then
            raise exception 'byte 193 at %% begins no value', pos - 1;
        else
            piece := case code when 194 then 'false' else 'true' end;
        end if;
        if width > 0 then
            part := substr(data, pos + 1, width);
            if octet_length(part) < width then
                raise exception 'number at byte %% is cut off', pos;
            end if;
            pos := pos + width;
            bits := ('x' || lpad(encode(part, 'hex'), 16, '0'))::bit(64)::bigint;
            len := bits;
        end if;

        if shape = '' then
            if code in (202, 203) then
                scale := case code when 202 then 23 else 52 end;
                exponent := (bits >> scale) & (1 << (width * 8 - 1 - scale)) - 1;
                bits := (bits & (1::bigint << scale) - 1) << (52 - scale);
                if exponent = (1 << (width * 8 - 1 - case code when 202 then 23 else 52 end)) - 1 then
                    piece := case when bits <> 0 then '"NaN"'
                        when get_byte(part, 0) > 127 then '"-Infinity"' else '"Infinity"' end;
                else
                    if exponent > 0 then
                        bits := bits + 4503599627370496;
                    end if;
                    scale := greatest(exponent, 1) - case code when 202 then 179 else 1075 end;
                    -- Powers of two only, so every product is exact. The smallest one is a
                    -- constant: power() may report an underflow for a subnormal result.
                    number := case when scale > -1000 then bits::float8 * power(2::float8, scale)
                        else bits::float8 * 4.9406564584124654e-324::float8
                            * power(2::float8, scale + 1074) end;
                    piece := case when get_byte(part, 0) > 127 then '-' else '' end || number
                        || case when number::text ~ '[.e]' then '' else '.0' end;
                end if;
            elsif code between 208 and 210 and get_byte(part, 0) > 127 then
                piece := (bits - (1::bigint << (width * 8)))::text;
            elsif code = 207 and bits < 0 then
                piece := (bits + 18446744073709551616::numeric)::text;
            elsif width > 0 then
                piece := bits::text;
            end if;
        else
            if shape = 'x' then
                ext := get_byte(data, pos);
                pos := pos + 1;
            end if;
            -- No value is shorter than a byte, so this bounds what containers announce, too.
            if len > size - pos then
                raise exception 'value at byte %% needs %% bytes more than there are',
                    pos, len - (size - pos);
            end if;
        end if;

        if shape in ('s', 'b') then
            part := substr(data, pos + 1, len::int);
            pos := pos + len::int;
            if shape = 'b' then
                piece := '{"$base64":"' || translate(encode(part, 'base64'), E'\n', '') || '"}';
            elsif position('\x00'::bytea in part) > 0 then
                piece := '{"$text_base64":"' || translate(encode(part, 'base64'), E'\n', '') || '"}';
            else
                piece := convert_from(part, 'UTF8');
                if is_key and piece like '$%%'
                    and piece ~ '^\$+(type|base64|text_base64|ext|undecodable|opaque)$' then
                    piece := '$' || piece;
                end if;
                pieces := pieces || (separator || to_json(piece)::text);
                separator := case when is_key then ':' else ',' end;
                continue;
            end if;
        elsif shape = 'x' then
            ends := pos + len::int;
            names := '{}';
            if ext in (6, 7) and len > 0 then
                names := array['numpy.ndarray', 'langgraph.checkpoint.serde.types._DeltaSnapshot'];
                piece := names[ext - 5];
            elsif ext < 6 and len > 3 and get_byte(data, pos) in (147, 148) then
                -- [module, name, argument], or with the name of the method that takes it
                width := pos + 1;
                while cardinality(names) < 2 and width < ends loop
                    code := get_byte(data, width);
                    exit when code not between 160 and 191 and code <> 217;
                    len := case code when 217 then get_byte(data, width + 1) else code & 31 end;
                    width := width + case code when 217 then 2 else 1 end;
                    part := substr(data, width + 1, len::int);
                    exit when position('\x00'::bytea in part) > 0;
                    names := names || convert_from(part, 'UTF8');
                    width := width + len::int;
                end loop;
                if cardinality(names) = 2 and width < ends then
                    pos := width;
                    piece := array_to_string(names, '.');
                else
                    names := '{}';
                end if;
            end if;
            if names = '{}' then
                part := substr(data, pos + 1, ends - pos);
                pos := ends;
                shape := '';
                piece := '{"$ext":' || case when ext > 127 then ext - 256 else ext end
                    || ',"$base64":"' || translate(encode(part, 'base64'), E'\n', '') || '"}';
            end if;
        end if;

        if shape in ('a', 'm', 'x') then
            depth := depth + 1;
            if depth > deepest then
                raise exception 'nested deeper than %% levels', deepest;
            end if;
            frames[depth] := frame;
            todos[depth] := todo;
            untils[depth] := until;
            begans[depth] := began;
            began := null;
            if is_key then
                -- Text in text in text: every level doubles its backslashes.
                key_depth := key_depth + 1;
                if key_depth > 4 then
                    raise exception 'keys inside keys, more than 4 deep, at byte %%', pos;
                end if;
                pieces := pieces || separator;
                separator := '';
                began := cardinality(pieces);
            end if;
            until := null;
            todo := len;
            if shape = 'x' then
                pieces := pieces || (separator || '{"$type":' || to_json(piece)::text);
                separator := ',"value":';
                frame := case when ext in (2, 4, 5) then 'f' else 'x' end;
                until := ends;
                todo := 1;
            elsif shape = 'm' then
                if frame = 'f' then
                    frame := 'n';
                    separator := ',';
                else
                    frame := 'm';
                    pieces := pieces || (separator || '{');
                    separator := '';
                end if;
                todo := len * 2;
            else
                frame := 'a';
                pieces := pieces || (separator || '[');
                separator := '';
            end if;
        else
            if is_key then
                piece := to_json(coalesce(piece::jsonb #>> '{}', 'null'))::text;
            end if;
            pieces := pieces || (separator || piece);
            separator := case when is_key then ':' else ',' end;
        end if;
    end loop;
    if pos < size then
        raise exception 'value ends at byte %%, %% bytes follow', pos, size - pos;
    end if;
    return array_to_string(pieces, '')::jsonb;
exception
    when raise_exception or data_exception or program_limit_exceeded or internal_error then
        return json_build_object(
            '$undecodable', case when octet_length(blob) < 100000000
                then translate(encode(blob, 'base64'), E'\n', '') end,
            'bytes', octet_length(blob),
            '$error', sqlerrm
        );
end
$function$
""",
    r"""
comment on function foundry_msgpack(bytea) is $comment$
One MessagePack value as JSON. Never fails.
Objects mark what JSON has no word for:
{"$base64"} bytes;
{"$text_base64"} text with U+0000, which jsonb cannot hold (its UTF-8 bytes);
{"$type", "value"} a Python object made from one value (datetime, UUID, Decimal, set, Path, Enum...);
{"$type", field...} one made from named fields (dataclass, named tuple, pydantic model, message);
{"$ext", "$base64"} an extension that is not LangGraph's;
{"$undecodable", "bytes", "$error"} the whole, when it is malformed, cut off or deeper than 5,000.
A key of the data that equals one of these marks gets one more "$".
Keys that are not text become the text of their JSON; when two become equal, the last one stays.
NaN and the infinities are strings. Numbers are exact.
$comment$
""",
    r"""
create or replace function foundry_json(blob bytea) returns jsonb
language plpgsql immutable strict parallel unsafe cost 1000
set search_path = pg_catalog, pg_temp
as $function$
begin
    return convert_from(blob, 'UTF8')::jsonb;
exception
    when data_exception or program_limit_exceeded or internal_error then
        return json_build_object(
            '$undecodable', case when octet_length(blob) < 100000000
                then translate(encode(blob, 'base64'), E'\n', '') end,
            'bytes', octet_length(blob),
            '$error', sqlerrm
        );
end
$function$
""",
    r"""
comment on function foundry_json(bytea) is $comment$
JSON in UTF-8 as jsonb. Never fails: what jsonb cannot hold is {"$undecodable", "bytes", "$error"}.
$comment$
""",
    r"""
create or replace function foundry_checkpoint_value(type text, blob bytea) returns jsonb
language sql immutable parallel unsafe cost 10000
return case type
    when 'msgpack' then foundry_msgpack(blob)
    when 'json' then foundry_json(blob)
    when 'null' then 'null'::jsonb
    when 'empty' then null
    when 'bytes' then jsonb_build_object('$base64', translate(encode(blob, 'base64'), E'\n', ''))
    when 'bytearray' then jsonb_build_object('$base64', translate(encode(blob, 'base64'), E'\n', ''))
    else jsonb_build_object('$opaque', type, 'bytes', octet_length(blob))
end
""",
    r"""
comment on function foundry_checkpoint_value(text, bytea) is $comment$
A value of LangGraph's checkpoint_blobs or checkpoint_writes as JSON. Never fails.
"empty" is NULL. What cannot be read here (encrypted, pickled) is {"$opaque", "bytes"}.
$comment$
""",
    r"""
-- Every checkpoint of LangGraph with its complete state as JSON, as the saver itself would load it.
--
-- The blob of a channel is looked up by its whole key. `limit 1` keeps the planner from turning
-- that into a join over all blobs of the thread, once per checkpoint. A blob comes before the value
-- beside it (the saver leaves `true` in the row where it stores a snapshot as a blob). Before
-- version 4 the tasks sent to the next step were stored with the parent's writes.
--
-- security_invoker: who reads the view needs the rights, and passes the policies, of its tables.
create or replace view checkpoint with (security_invoker = true) as
select
    c.thread_id,
    c.checkpoint_ns,
    c.checkpoint_id,
    c.parent_checkpoint_id,
    c.type,
    c.checkpoint || jsonb_build_object(
        'channel_values',
        case when jsonb_typeof(c.checkpoint -> 'channel_values') = 'object'
            then c.checkpoint -> 'channel_values' else '{}' end
        || coalesce((
            select jsonb_object_agg(v.key, foundry_checkpoint_value(b.type, b.blob))
            from jsonb_each_text(
                case when jsonb_typeof(c.checkpoint -> 'channel_versions') = 'object'
                    then c.checkpoint -> 'channel_versions' end
            ) as v
            cross join lateral (
                select b.type, b.blob
                from checkpoint_blobs as b
                where b.thread_id = c.thread_id
                    and b.checkpoint_ns = c.checkpoint_ns
                    and b.channel = v.key
                    and b.version = v.value
                    and b.type <> 'empty'
                limit 1
            ) as b
        ), '{}')
        || case when c.checkpoint -> 'v' < '4' then coalesce((
            select jsonb_build_object('__pregel_tasks', jsonb_agg(
                foundry_checkpoint_value(w.type, w.blob) order by w.task_path, w.task_id, w.idx
            ))
            from checkpoint_writes as w
            where w.thread_id = c.thread_id
                and w.checkpoint_ns = c.checkpoint_ns
                and w.checkpoint_id = c.parent_checkpoint_id
                and w.channel = '__pregel_tasks'
            having count(*) > 0
        ), '{}') else '{}' end
    ) as checkpoint,
    c.metadata
from checkpoints as c
""",
    r"""
comment on view checkpoint is $comment$
LangGraph's checkpoints with the complete state under checkpoint -> 'channel_values'.
Read only. foundry_msgpack(bytea) says how values that JSON has no word for are written.
A DeltaChannel has a value only where a snapshot of it was stored.
$comment$
""",
    "comment on column checkpoint.thread_id is 'The thread, in foundry a session or a protocol.'",
    "comment on column checkpoint.checkpoint_ns"
    " is 'Path of the subgraph; empty for the graph itself.'",
    "comment on column checkpoint.checkpoint_id is 'UUID version 6: sorts by time.'",
    "comment on column checkpoint.parent_checkpoint_id is 'The checkpoint before this one.'",
    "comment on column checkpoint.type is 'Not set by the saver.'",
    "comment on column checkpoint.checkpoint is 'State, versions and time stamp.'",
    "comment on column checkpoint.metadata is 'Source, step and what the run was configured with.'",
)
DOWN = (
    "DROP VIEW checkpoint",
    "DROP FUNCTION foundry_checkpoint_value(text, bytea)",
    "DROP FUNCTION foundry_json(bytea)",
    "DROP FUNCTION foundry_msgpack(bytea)",
    "DROP INDEX idx_checkpoint_parent_id",
    "DROP INDEX idx_checkpoints_thread_checkpoint",
)


def up(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in UP))


def down(migrator, db):
    migrator.migrate(*(migrator.sql(statement) for statement in DOWN))
