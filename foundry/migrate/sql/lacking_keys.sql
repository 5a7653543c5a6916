-- Of these triples of table, first column and kind (p: primary, f: foreign), those without a key.
SELECT CASE wanted.kind WHEN 'p' THEN 'primary key of ' ELSE 'foreign key ' END
       || wanted."table" || CASE wanted.kind WHEN 'p' THEN '' ELSE '.' || wanted.name END
FROM unnest(%(tables)s::text[], %(columns)s::text[], %(kinds)s::text[])
         AS wanted("table", name, kind)
WHERE pg_catalog.to_regclass(wanted."table") IS NOT NULL
  AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint AS c
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
    WHERE c.conrelid = pg_catalog.to_regclass(wanted."table")
      AND c.contype = wanted.kind::"char" AND a.attname = wanted.name)
ORDER BY 1
