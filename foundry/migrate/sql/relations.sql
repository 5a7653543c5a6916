-- The relations of these names that an unqualified name would find, in the order asked for, with
-- the name as the server prints it.
SELECT wanted.name, c.oid::pg_catalog.regclass::text,
       CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' ELSE 'table' END,
       (SELECT count(*) FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
       (SELECT count(*) FROM pg_catalog.pg_index AS i WHERE i.indrelid = c.oid),
       coalesce(pg_catalog.obj_description(c.oid, 'pg_class'), '')
FROM unnest(%(names)s::text[]) WITH ORDINALITY AS wanted(name, position)
JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(wanted.name)
ORDER BY wanted.position
