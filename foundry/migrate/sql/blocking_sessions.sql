-- Sessions that stand in the way of a server process; a pid of 0 is a prepared transaction.
-- pg_blocking_pids knows holders and those further ahead in the queue, for locks of tables as
-- for the virtual transactions that CREATE INDEX CONCURRENTLY waits for. That view's own
-- current_locker_pid is not asked: for a prepared transaction it names the session that
-- prepared it, which may be doing something else.
SELECT b.pid,
       coalesce(a.application_name, ''),
       coalesce(a.usename::text, ''),
       coalesce(a.backend_type, CASE
           WHEN a.pid IS NULL OR a.usesysid IS NOT NULL THEN 'client backend'
           WHEN EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum AS v WHERE v.pid = b.pid)
             OR EXISTS (SELECT FROM pg_catalog.pg_stat_progress_analyze AS n WHERE n.pid = b.pid)
           THEN 'autovacuum worker'
           ELSE 'background process'
       END),
       coalesce(a.state, ''),
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
       CASE WHEN a.backend_type IS NULL THEN NULL ELSE coalesce(a.query, '') END
FROM (SELECT DISTINCT unnest(pg_catalog.pg_blocking_pids(%(pid)s)) AS pid) AS b
LEFT JOIN pg_catalog.pg_stat_activity AS a ON a.pid = b.pid
WHERE b.pid = 0 OR a.pid IS NOT NULL
-- First who holds it, then who waits for it too.
ORDER BY a.wait_event_type IS NOT DISTINCT FROM 'Lock', a.xact_start NULLS LAST, b.pid
