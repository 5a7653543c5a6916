-- What the texts of objects use, as the server recorded it when it read them: columns, relations,
-- functions and enums. Nothing of the server's own is recorded; members of extensions are left out.
-- Of objects just made the server has no statistics, and would compare all with all: so the users
-- are found first, and OFFSET 0 leaves no way to theirs but the index.
WITH users(kind, object, number, class, depender) AS MATERIALIZED (
    SELECT 'default', ad.adrelid, ad.adnum::int, 'pg_catalog.pg_attrdef'::regclass::oid, ad.oid
    FROM pg_catalog.pg_attrdef AS ad JOIN pg_catalog.pg_class AS c ON c.oid = ad.adrelid
    WHERE c.relnamespace = ANY(%(spaces)s::oid[])
    UNION ALL
    SELECT 'index', i.indexrelid, 0, 'pg_catalog.pg_class'::regclass, i.indexrelid
    FROM pg_catalog.pg_index AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
    WHERE c.relnamespace = ANY(%(spaces)s::oid[])
      AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
    UNION ALL
    SELECT 'constraint', con.oid, 0, 'pg_catalog.pg_constraint'::regclass, con.oid
    FROM pg_catalog.pg_constraint AS con JOIN pg_catalog.pg_class AS c ON c.oid = con.conrelid
    WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND con.contype = 'c'
    UNION ALL
    SELECT 'relation', r.ev_class, 0, 'pg_catalog.pg_rewrite'::regclass, r.oid
    FROM pg_catalog.pg_rewrite AS r JOIN pg_catalog.pg_class AS c ON c.oid = r.ev_class
    WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND c.relkind IN ('v', 'm')
    UNION ALL
    SELECT 'function', p.oid, 0, 'pg_catalog.pg_proc'::regclass, p.oid
    FROM pg_catalog.pg_proc AS p WHERE p.pronamespace = ANY(%(spaces)s::oid[])
    UNION ALL
    SELECT 'trigger', t.oid, 0, 'pg_catalog.pg_trigger'::regclass, t.oid
    FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND NOT t.tgisinternal
    UNION ALL
    SELECT 'policy', p.oid, 0, 'pg_catalog.pg_policy'::regclass, p.oid
    FROM pg_catalog.pg_policy AS p JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
    WHERE c.relnamespace = ANY(%(spaces)s::oid[])
)
SELECT DISTINCT u.kind, u.object, u.number,
       CASE WHEN p.oid IS NOT NULL THEN 'function' WHEN e.typtype = 'e' THEN 'enum'
            WHEN r.relkind IN ('v', 'm') THEN 'view' WHEN r.relkind = 'S' THEN 'sequence'
            WHEN a.attname IS NOT NULL THEN 'column' ELSE 'table' END,
       n.nspname, coalesce(p.proname, r.relname, e.typname),
       CASE WHEN p.oid IS NOT NULL THEN oidvectortypes(p.proargtypes)
            WHEN r.relkind NOT IN ('v', 'm', 'S') THEN a.attname::text END
FROM users AS u
CROSS JOIN LATERAL (
    SELECT x.refclassid, x.refobjid, x.refobjsubid FROM pg_catalog.pg_depend AS x
    WHERE x.classid = u.class AND x.objid = u.depender AND x.refobjid >= 16384
      AND (x.deptype = 'n' OR x.deptype = 'a' AND u.kind <> 'default')
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
WHERE (u.kind <> 'constraint' OR p.oid IS NOT NULL)
  -- Before 16 the rule of a view depended on the view.
  AND NOT (u.kind = 'relation' AND r.oid IS NOT DISTINCT FROM u.object)
  AND (d.refclassid, d.refobjid) NOT IN (
    SELECT classid, objid FROM pg_catalog.pg_depend
    WHERE refclassid = 'pg_catalog.pg_extension'::regclass AND deptype = 'e')
