-- Namespaces in which the current role may not create. A name of "" is the one that bare names
-- are created in; one that is not there yet is made by a file.
SELECT DISTINCT n.nspname::text, pg_catalog.pg_get_userbyid(n.nspowner), current_user::text
FROM unnest(%(namespaces)s::text[]) AS t(name)
JOIN pg_catalog.pg_namespace AS n
  ON n.oid = pg_catalog.to_regnamespace(
         CASE t.name WHEN '' THEN pg_catalog.quote_ident(pg_catalog.current_schema())
         ELSE t.name END)
WHERE NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE')
ORDER BY 1
