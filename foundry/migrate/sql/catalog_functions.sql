SELECT p.oid, p.pronamespace, n.nspname, p.proname, oidvectortypes(p.proargtypes),
       pg_get_functiondef(p.oid),
       format('CREATE OR REPLACE %%s %%I.%%I(',
              CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, n.nspname, p.proname),
       format('CREATE OR REPLACE %%s %%I(',
              CASE p.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, p.proname),
       pg_get_function_result(p.oid), p.prokind, d.description
FROM pg_catalog.pg_proc AS p
JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
LEFT JOIN pg_catalog.pg_description AS d
  ON d.classoid = 'pg_catalog.pg_proc'::regclass AND d.objoid = p.oid
WHERE p.pronamespace = ANY(%(spaces)s::oid[]) AND p.prokind IN ('f', 'p')
  AND p.oid NOT IN (
    SELECT objid FROM pg_catalog.pg_depend
    WHERE classid = 'pg_catalog.pg_proc'::regclass
      AND refclassid = 'pg_catalog.pg_extension'::regclass AND deptype = 'e')
