SELECT t.typnamespace, t.typname, format_type(t.oid, NULL), d.description,
       array_agg(e.enumlabel::text ORDER BY e.enumsortorder) FILTER (WHERE e.oid IS NOT NULL)
FROM pg_catalog.pg_type AS t
LEFT JOIN pg_catalog.pg_enum AS e ON e.enumtypid = t.oid
LEFT JOIN pg_catalog.pg_description AS d
  ON d.classoid = 'pg_catalog.pg_type'::regclass AND d.objoid = t.oid
WHERE t.typnamespace = ANY(%(spaces)s::oid[]) AND t.typtype = 'e'
  AND t.oid NOT IN (
    SELECT objid FROM pg_catalog.pg_depend
    WHERE classid = 'pg_catalog.pg_type'::regclass
      AND refclassid = 'pg_catalog.pg_extension'::regclass AND deptype = 'e')
GROUP BY t.oid, d.description
