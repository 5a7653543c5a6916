-- Tables of these on which the current role cannot do what an application does.
SELECT wanted.name
FROM unnest(%(names)s::text[]) AS wanted(name)
WHERE pg_catalog.to_regclass(wanted.name) IS NOT NULL
  AND NOT (pg_catalog.has_table_privilege(pg_catalog.to_regclass(wanted.name), 'SELECT')
           AND pg_catalog.has_table_privilege(pg_catalog.to_regclass(wanted.name), 'INSERT')
           AND pg_catalog.has_table_privilege(pg_catalog.to_regclass(wanted.name), 'UPDATE')
           AND pg_catalog.has_table_privilege(pg_catalog.to_regclass(wanted.name), 'DELETE'))
ORDER BY 1
