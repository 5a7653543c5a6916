-- What the current role cannot do that an application does: read and write these tables, take
-- numbers from their sequences, read these views; and create, which `up` needs.
WITH tables AS (
    SELECT name, pg_catalog.to_regclass(name) AS oid FROM unnest(%(tables)s::text[]) AS t(name)
), views AS (
    SELECT name, pg_catalog.to_regclass(name) AS oid FROM unnest(%(views)s::text[]) AS v(name)
)
SELECT 'read and write ' || name FROM tables
WHERE oid IS NOT NULL
  AND NOT (pg_catalog.has_table_privilege(oid, 'SELECT')
           AND pg_catalog.has_table_privilege(oid, 'INSERT')
           AND pg_catalog.has_table_privilege(oid, 'UPDATE')
           AND pg_catalog.has_table_privilege(oid, 'DELETE'))
UNION ALL
SELECT 'use sequence ' || d.objid::regclass::text
FROM tables
JOIN pg_catalog.pg_depend AS d
  ON d.refobjid = tables.oid AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'a'
JOIN pg_catalog.pg_class AS s ON s.oid = d.objid
-- CASE, because the function fails for what is no sequence, in whatever order it is asked.
WHERE CASE s.relkind WHEN 'S' THEN NOT pg_catalog.has_sequence_privilege(s.oid, 'USAGE')
      ELSE false END
UNION ALL
SELECT 'read ' || name FROM views
WHERE oid IS NOT NULL AND NOT pg_catalog.has_table_privilege(oid, 'SELECT')
UNION ALL
SELECT 'write at all: the session is read-only'
WHERE pg_catalog.current_setting('transaction_read_only') = 'on'
ORDER BY 1
