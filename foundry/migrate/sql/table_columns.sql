-- The columns of a table, where there is one.
SELECT ARRAY(
    SELECT attname::text FROM pg_catalog.pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
FROM pg_catalog.pg_class AS c WHERE c.oid = pg_catalog.to_regclass(%(quoted)s)
