-- Triggers somebody made; not those of foreign keys, nor a partition's from its parent.
-- Printed "pretty", which is the form that leaves out a namespace on the path.
SELECT t.oid, t.tgrelid, t.tgname, pg_get_triggerdef(t.oid, true), t.tgenabled,
       t.tgattr::text, d.description
FROM pg_catalog.pg_trigger AS t
JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
LEFT JOIN pg_catalog.pg_description AS d
  ON d.classoid = 'pg_catalog.pg_trigger'::regclass AND d.objoid = t.oid
WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND NOT t.tgisinternal AND t.tgparentid = 0
