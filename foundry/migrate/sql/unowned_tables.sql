-- Tables that files change and the current role may not: who owns them. A foreign key and a
-- trigger need a privilege only; a foreign key that is dropped locks the other table without
-- asking whose it is.
WITH locks AS (
    SELECT t.file, t.mode, c.oid, c.relowner
    FROM unnest(%(files)s::text[], %(names)s::text[], %(modes)s::text[]) AS t(file, name, mode)
    JOIN pg_catalog.pg_class AS c ON c.oid = pg_catalog.to_regclass(t.name)
)
SELECT DISTINCT l.oid::pg_catalog.regclass::text, pg_catalog.pg_get_userbyid(l.relowner)
FROM locks AS l
WHERE NOT pg_catalog.pg_has_role(l.relowner, 'USAGE')
  AND CASE l.mode
      WHEN 'ACCESS SHARE' THEN false
      WHEN 'ROW SHARE' THEN false
      WHEN 'ROW EXCLUSIVE' THEN false
      WHEN 'SHARE ROW EXCLUSIVE' THEN
          NOT pg_catalog.has_any_column_privilege(l.oid, 'REFERENCES')
          AND NOT pg_catalog.has_table_privilege(l.oid, 'TRIGGER')
      WHEN 'ACCESS EXCLUSIVE' THEN NOT EXISTS (
          SELECT FROM pg_catalog.pg_constraint AS f
          JOIN locks AS other ON other.oid = f.conrelid
          WHERE f.contype = 'f' AND f.confrelid = l.oid AND f.conrelid <> l.oid
            AND other.file = l.file AND other.mode = l.mode)
      ELSE true END
ORDER BY 1
