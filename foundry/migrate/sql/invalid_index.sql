-- An index by its name, if it is INVALID.
SELECT i.indexrelid::regclass::text FROM pg_catalog.pg_index AS i
WHERE i.indexrelid = to_regclass(%s) AND NOT i.indisvalid
