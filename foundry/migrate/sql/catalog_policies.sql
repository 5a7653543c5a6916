SELECT p.oid, p.polrelid, p.polname,
       CASE WHEN p.polpermissive THEN 'AS PERMISSIVE' ELSE 'AS RESTRICTIVE' END
       || ' FOR ' || CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT'
                     WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END
       || ' TO ' || (SELECT string_agg(CASE r.oid WHEN 0 THEN 'PUBLIC'
                                       ELSE quote_ident(pg_get_userbyid(r.oid)) END, ', '
                                       ORDER BY pg_get_userbyid(r.oid))
                     FROM unnest(p.polroles) AS r(oid))
       || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
       || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', ''),
       d.description
FROM pg_catalog.pg_policy AS p
JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
LEFT JOIN pg_catalog.pg_description AS d
  ON d.classoid = 'pg_catalog.pg_policy'::regclass AND d.objoid = p.oid
WHERE c.relnamespace = ANY(%(spaces)s::oid[])
