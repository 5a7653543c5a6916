-- A constraint of a table by its name.
SELECT pg_catalog.pg_get_constraintdef(c.oid), c.convalidated, i.relname
FROM pg_catalog.pg_constraint AS c
LEFT JOIN pg_catalog.pg_class AS i ON i.oid = c.conindid
WHERE c.conrelid = pg_catalog.to_regclass(%(table)s) AND c.conname = %(name)s
