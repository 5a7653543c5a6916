-- The index of a name beside a table, and whether a session builds it now.
SELECT c.oid, i.indisvalid, i.indisunique,
       pg_catalog.pg_get_indexdef(c.oid), c.oid::pg_catalog.regclass::text,
       i.indrelid = t.oid,
       EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index AS p
               WHERE p.datname = pg_catalog.current_database()
                 -- Who may not see what another role builds sees that it holds the table.
                 AND (p.index_relid = c.oid OR p.index_relid IS NULL AND EXISTS (
                     SELECT FROM pg_catalog.pg_locks AS l
                     WHERE l.pid = p.pid AND l.relation = t.oid AND l.granted
                       AND l.mode = 'ShareUpdateExclusiveLock')))
FROM pg_catalog.pg_class AS t
JOIN pg_catalog.pg_class AS c ON c.relnamespace = t.relnamespace AND c.relname = %(name)s
JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
WHERE t.oid = pg_catalog.to_regclass(%(table)s)
