-- Tables that some autovacuum workers hold.
SELECT n.nspname, c.relname
FROM pg_catalog.pg_locks AS l
JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE l.pid = ANY(%(pids)s) AND l.granted AND l.mode = 'ShareUpdateExclusiveLock'
  AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
  -- LOCK TABLE takes no others, TOAST tables for one.
  AND c.relkind IN ('r', 'p')
ORDER BY 1, 2
