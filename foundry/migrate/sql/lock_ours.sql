-- Whether this session holds the migration lock.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND pid = pg_catalog.pg_backend_pid()
      AND (classid::bigint << 32 | objid::bigint) = %s)
