-- A waiting session has autovacuum cancelled after deadlock_timeout, never before.
SELECT pg_catalog.set_config('lock_timeout', (500 + 1000 * extract(epoch FROM
    pg_catalog.current_setting('deadlock_timeout')::interval))::int::text, true)
