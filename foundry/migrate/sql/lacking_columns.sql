-- Of these pairs of table and column, those where the table is there and the column is not.
SELECT wanted."table" || '.' || wanted.name
FROM unnest(%(tables)s::text[], %(columns)s::text[]) AS wanted("table", name)
WHERE pg_catalog.to_regclass(wanted."table") IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = pg_catalog.to_regclass(wanted."table")
      AND a.attname = wanted.name AND NOT a.attisdropped)
ORDER BY 1
