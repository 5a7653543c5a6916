-- The two of ours are for what settled() sets before each statement.
SELECT pg_catalog.set_config('lock_timeout', %(lock)s, true),
    pg_catalog.set_config('foundry.lock_timeout', %(lock)s, true),
    pg_catalog.set_config('foundry.row_timeout', %(row)s, true),
    pg_catalog.pg_current_xact_id()::text
