-- Whether an index is valid; no row where it is not there.
SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass(%s)
