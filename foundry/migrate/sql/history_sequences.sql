-- The sequences that number the rows of the history, and whether the current role may use them.
SELECT s.oid::pg_catalog.regclass::text,
       pg_catalog.has_sequence_privilege(s.oid, 'USAGE'),
       current_user::text
FROM pg_catalog.pg_depend AS d
JOIN pg_catalog.pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
  AND d.deptype = 'a'
  AND d.refobjid = ANY(SELECT pg_catalog.to_regclass(n.name) FROM unnest(%(names)s::text[]) AS n(name))
ORDER BY 1
