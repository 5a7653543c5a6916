-- What only changes rows waits for whoever holds those, and only writers of its own rows wait for
-- it meanwhile; unless it has locks of tables already. A file may have set lock_timeout: what
-- retried() chose is put back before each statement.
SELECT extract(epoch FROM pg_catalog.current_setting('statement_timeout')::interval)::float8,
    pg_catalog.set_config('lock_timeout', coalesce(
        nullif(pg_catalog.current_setting(CASE WHEN %s AND NOT EXISTS (
            SELECT FROM pg_catalog.pg_locks
            WHERE pid = pg_catalog.pg_backend_pid() AND granted AND locktype = 'relation'
              AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                           'AccessExclusiveLock'))
            THEN 'foundry.row_timeout' ELSE 'foundry.lock_timeout' END, true), ''),
        pg_catalog.current_setting('lock_timeout')), true)
