-- Privileges others than the owner have, and those everybody has of a new object and somebody
-- took away: EXECUTE on a function and, in a database that has it from the start, USAGE on public.
WITH held(class, object, number, owner, given, acl) AS (
    SELECT 'relation', c.oid, 0, c.relowner, NULL, c.relacl
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND c.relacl IS NOT NULL
      AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
    UNION ALL
    SELECT 'column', c.oid, a.attnum, c.relowner, NULL, a.attacl
    FROM pg_catalog.pg_class AS c
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
    WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND a.attacl IS NOT NULL
      AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'function', p.oid, 0, p.proowner, 'EXECUTE', p.proacl
    FROM pg_catalog.pg_proc AS p
    WHERE p.pronamespace = ANY(%(spaces)s::oid[]) AND p.proacl IS NOT NULL
    UNION ALL
    SELECT 'namespace', n.oid, 0, n.nspowner,
           CASE n.nspname WHEN 'public' THEN 'USAGE' END, n.nspacl
    FROM pg_catalog.pg_namespace AS n
    WHERE n.oid = ANY(%(spaces)s::oid[]) AND n.nspacl IS NOT NULL
)
SELECT h.class, h.object, h.number,
       CASE g.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(g.grantee)::text END,
       g.privilege_type, bool_or(g.is_grantable), false
FROM held AS h CROSS JOIN LATERAL aclexplode(h.acl) AS g
WHERE g.grantee <> h.owner AND (g.grantee, g.privilege_type) IS DISTINCT FROM (0::oid, h.given)
GROUP BY h.class, h.object, h.number, g.grantee, g.privilege_type
UNION ALL
SELECT h.class, h.object, h.number, '', h.given, false, true
FROM held AS h
WHERE h.given IS NOT NULL
  AND (0::oid, h.given) NOT IN (SELECT g.grantee, g.privilege_type FROM aclexplode(h.acl) AS g)
