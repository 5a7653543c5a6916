-- The one index of a copy.
SELECT i.indisunique, pg_catalog.pg_get_indexdef(i.indexrelid)
FROM pg_catalog.pg_index AS i
WHERE i.indrelid = pg_catalog.to_regclass(%(table)s)
