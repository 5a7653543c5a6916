-- What no other query reads and yet rests on what they read: rules of tables, publications with
-- columns or conditions, domains, composite and range types, foreign tables, aggregates, casts,
-- operators and the like. `own` is true of the table whose end is its end.
WITH users(class, depender) AS MATERIALIZED (
    SELECT 'pg_catalog.pg_class'::regclass::oid, oid FROM pg_catalog.pg_class
    WHERE relkind IN ('f', 'c')
    UNION ALL
    SELECT 'pg_catalog.pg_rewrite'::regclass, r.oid
    FROM pg_catalog.pg_rewrite AS r JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
    WHERE c.relkind NOT IN ('v', 'm')
    UNION ALL
    SELECT 'pg_catalog.pg_proc'::regclass, oid FROM pg_catalog.pg_proc
    WHERE prokind NOT IN ('f', 'p')
    UNION ALL
    SELECT 'pg_catalog.pg_type'::regclass, oid FROM pg_catalog.pg_type WHERE typtype IN ('d', 'r')
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::regclass, oid FROM pg_catalog.pg_constraint
    WHERE contypid <> 0
    UNION ALL
    SELECT 'pg_catalog.pg_publication_rel'::regclass, oid FROM pg_catalog.pg_publication_rel
    UNION ALL SELECT 'pg_catalog.pg_cast'::regclass, oid FROM pg_catalog.pg_cast
    UNION ALL SELECT 'pg_catalog.pg_operator'::regclass, oid FROM pg_catalog.pg_operator
    UNION ALL SELECT 'pg_catalog.pg_opclass'::regclass, oid FROM pg_catalog.pg_opclass
    UNION ALL SELECT 'pg_catalog.pg_amproc'::regclass, oid FROM pg_catalog.pg_amproc
    UNION ALL SELECT 'pg_catalog.pg_transform'::regclass, oid FROM pg_catalog.pg_transform
    UNION ALL SELECT 'pg_catalog.pg_conversion'::regclass, oid FROM pg_catalog.pg_conversion
    UNION ALL SELECT 'pg_catalog.pg_event_trigger'::regclass, oid FROM pg_catalog.pg_event_trigger
), members(class, object) AS MATERIALIZED (
    SELECT classid, objid FROM pg_catalog.pg_depend
    WHERE refclassid = 'pg_catalog.pg_extension'::regclass AND deptype = 'e'
)
SELECT pg_describe_object(d.classid, d.objid, 0), d.deptype = 'a' AS own,
       CASE WHEN p.oid IS NOT NULL THEN 'function' WHEN e.typtype = 'e' THEN 'enum'
            WHEN r.relkind IN ('v', 'm') THEN 'view'
            WHEN a.attname IS NOT NULL THEN 'column' ELSE 'table' END,
       n.nspname, coalesce(p.proname, r.relname, e.typname),
       CASE WHEN p.oid IS NOT NULL THEN oidvectortypes(p.proargtypes) ELSE a.attname::text END
FROM users AS u
CROSS JOIN LATERAL (
    SELECT * FROM pg_catalog.pg_depend AS x
    WHERE x.classid = u.class AND x.objid = u.depender AND x.refobjid >= 16384
      AND x.deptype IN ('n', 'a')
    OFFSET 0
) AS d
LEFT JOIN pg_catalog.pg_proc AS p
  ON d.refclassid = 'pg_catalog.pg_proc'::regclass AND p.oid = d.refobjid
LEFT JOIN pg_catalog.pg_type AS t
  ON d.refclassid = 'pg_catalog.pg_type'::regclass AND t.oid = d.refobjid
LEFT JOIN pg_catalog.pg_type AS e
  ON e.oid = CASE t.typcategory WHEN 'A' THEN t.typelem ELSE t.oid END AND e.typtype IN ('e', 'c')
LEFT JOIN pg_catalog.pg_class AS r
  ON r.oid = CASE d.refclassid WHEN 'pg_catalog.pg_class'::regclass THEN d.refobjid
             ELSE e.typrelid END
LEFT JOIN pg_catalog.pg_attribute AS a
  ON d.refobjsubid > 0 AND a.attrelid = r.oid AND a.attnum = d.refobjsubid
JOIN pg_catalog.pg_namespace AS n
  ON n.oid = coalesce(p.pronamespace, r.relnamespace, e.typnamespace)
WHERE u.depender >= 16384 AND n.oid = ANY(%(spaces)s::oid[])
  AND (d.classid, d.objid) NOT IN (SELECT m.class, m.object FROM members AS m)
  AND (d.refclassid, d.refobjid) NOT IN (SELECT m.class, m.object FROM members AS m)
ORDER BY 1
