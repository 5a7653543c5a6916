-- Sequences, those of identity columns too, and the column that owns each: 'a' by OWNED BY,
-- 'i' as an identity.
SELECT c.oid, c.relnamespace, c.relname, format_type(s.seqtypid, NULL),
       s.seqincrement, s.seqmin, s.seqmax, s.seqstart, s.seqcache, s.seqcycle,
       o.deptype, o.refobjid, o.refobjsubid, n.nspname, t.relname, a.attname, d.description
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_sequence AS s ON s.seqrelid = c.oid
LEFT JOIN pg_catalog.pg_depend AS o
  ON o.classid = 'pg_catalog.pg_class'::regclass AND o.objid = c.oid
 AND o.refclassid = 'pg_catalog.pg_class'::regclass AND o.deptype IN ('a', 'i')
 AND o.refobjsubid > 0
LEFT JOIN pg_catalog.pg_class AS t ON t.oid = o.refobjid
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid = t.relnamespace
LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.refobjid AND a.attnum = o.refobjsubid
LEFT JOIN pg_catalog.pg_description AS d
  ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0
WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND c.relkind = 'S'
  AND c.oid NOT IN (
    SELECT objid FROM pg_catalog.pg_depend
    WHERE classid = 'pg_catalog.pg_class'::regclass
      AND refclassid = 'pg_catalog.pg_extension'::regclass AND deptype = 'e')
