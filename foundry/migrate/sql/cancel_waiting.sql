-- Only while it still waits: a statement that has its lock by now is left to go on.
SELECT pg_catalog.pg_cancel_backend(%(pid)s)
WHERE pg_catalog.cardinality(pg_catalog.pg_blocking_pids(%(pid)s)) > 0
