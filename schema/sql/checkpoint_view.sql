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
-- ;;
comment on view checkpoint is $comment$
LangGraph's checkpoints with the complete state under checkpoint -> 'channel_values'.
Read only. foundry_msgpack(bytea) says how values that JSON has no word for are written.
A DeltaChannel has a value only where a snapshot of it was stored.
$comment$
-- ;;
comment on column checkpoint.thread_id is 'The thread, in foundry a session or a protocol.'
-- ;;
comment on column checkpoint.checkpoint_ns is 'Path of the subgraph; empty for the graph itself.'
-- ;;
comment on column checkpoint.checkpoint_id is 'UUID version 6: sorts by time.'
-- ;;
comment on column checkpoint.parent_checkpoint_id is 'The checkpoint before this one.'
-- ;;
comment on column checkpoint.type is 'Not set by the saver.'
-- ;;
comment on column checkpoint.checkpoint is 'State, versions and time stamp.'
-- ;;
comment on column checkpoint.metadata is 'Source, step and what the run was configured with.'
