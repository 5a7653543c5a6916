-- What REINDEX CONCURRENTLY builds beside the old one, and leaves beside the new one.
SELECT c.oid::pg_catalog.regclass::text
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_class AS t ON t.oid = i.indrelid
LEFT JOIN pg_catalog.pg_class AS owner ON t.relkind = 't' AND owner.reltoastrelid = t.oid
JOIN pg_catalog.pg_namespace AS n ON n.oid = coalesce(owner.relnamespace, t.relnamespace)
WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$'
  AND CASE %(kind)s
      WHEN 'index' THEN t.oid = (SELECT o.indrelid FROM pg_catalog.pg_index AS o
                                 WHERE o.indexrelid = pg_catalog.to_regclass(%(name)s))
      WHEN 'table' THEN coalesce(owner.oid, t.oid) = pg_catalog.to_regclass(%(name)s)
      WHEN 'schema' THEN n.nspname = %(namespace)s
      ELSE true END
