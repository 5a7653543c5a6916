-- Constraints of these tables that existing rows were never checked against.
SELECT c.conname
FROM unnest(%(names)s::text[]) AS wanted(name)
JOIN pg_catalog.pg_constraint AS c ON c.conrelid = pg_catalog.to_regclass(wanted.name)
WHERE NOT c.convalidated
ORDER BY 1
