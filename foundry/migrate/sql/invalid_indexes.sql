-- Indexes of these tables that a failed or killed build left behind.
SELECT i.indexrelid::regclass::text
FROM unnest(%(names)s::text[]) AS wanted(name)
JOIN pg_catalog.pg_index AS i ON i.indrelid = pg_catalog.to_regclass(wanted.name)
WHERE NOT i.indisvalid OR NOT i.indisready
ORDER BY 1
