-- Of these pairs of table and index, those where the table has no index of that name.
SELECT wanted.index
FROM unnest(%(tables)s::text[], %(indexes)s::text[]) AS wanted("table", index)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_index AS i
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    WHERE i.indrelid = pg_catalog.to_regclass(wanted."table") AND c.relname = wanted.index)
ORDER BY 1
