-- The namespaces to read that are there: oid, name in the server, the name it stands for, both as
-- PostgreSQL prints them, and the comment.
SELECT n.oid, wanted.name, wanted.real, quote_ident(wanted.name), quote_ident(wanted.real),
       d.description
FROM unnest(%(names)s::text[], %(real)s::text[]) AS wanted(name, real)
JOIN pg_catalog.pg_namespace AS n ON n.nspname = wanted.name
LEFT JOIN pg_catalog.pg_description AS d
  ON d.classoid = 'pg_catalog.pg_namespace'::regclass AND d.objoid = n.oid
ORDER BY wanted.real
