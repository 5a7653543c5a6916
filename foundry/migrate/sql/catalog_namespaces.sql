-- Every namespace that is neither the server's own nor one of an extension.
SELECT n.nspname
FROM pg_catalog.pg_namespace AS n
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND n.oid NOT IN (
    SELECT objid FROM pg_catalog.pg_depend
    WHERE classid = 'pg_catalog.pg_namespace'::regclass
      AND refclassid = 'pg_catalog.pg_extension'::regclass AND deptype = 'e')
ORDER BY n.nspname
