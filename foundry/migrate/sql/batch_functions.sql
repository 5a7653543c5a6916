-- A function of somebody's own that the view calls, by name or by operator, and that may read
-- tables.
SELECT p.oid::regprocedure::text
FROM pg_catalog.pg_rewrite AS w
JOIN pg_catalog.pg_depend AS d
    ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
LEFT JOIN pg_catalog.pg_operator AS o
    ON d.refclassid = 'pg_catalog.pg_operator'::regclass AND o.oid = d.refobjid
JOIN pg_catalog.pg_proc AS p
    ON p.oid = o.oprcode
    OR d.refclassid = 'pg_catalog.pg_proc'::regclass AND p.oid = d.refobjid
JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
WHERE w.ev_class = pg_catalog.to_regclass(%(view)s)
  AND l.lanname NOT IN ('c', 'internal') AND p.provolatile <> 'i'
ORDER BY 1
LIMIT 1
