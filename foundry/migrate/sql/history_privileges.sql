-- The tables of the history that are there, and whether the current role may write them.
SELECT c.oid::pg_catalog.regclass::text,
       pg_catalog.has_table_privilege(c.oid, 'SELECT')
       AND pg_catalog.has_table_privilege(c.oid, 'INSERT')
       AND pg_catalog.has_table_privilege(c.oid, 'UPDATE')
       AND pg_catalog.has_table_privilege(c.oid, 'DELETE'),
       current_user::text
FROM unnest(%(names)s::text[]) AS t(name)
JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(t.name)
ORDER BY 1
