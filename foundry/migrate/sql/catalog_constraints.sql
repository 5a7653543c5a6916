-- Keys, exclusions, checks and foreign keys; not those a partition has from its parent.
-- A key's storage parameters are printed with its index and not with the constraint.
SELECT con.oid, con.conrelid, con.conname, con.contype::text, pg_get_constraintdef(con.oid),
       con.convalidated, d.description, con.conkey,
       CASE con.contype WHEN 'c' THEN pg_get_expr(con.conbin, con.conrelid) END AS expression,
       con.condeferrable, con.condeferred, ic.relname AS index, i.indexrelid, i.indkey::text,
       CASE WHEN con.contype IN ('p', 'u', 'x') THEN pg_get_indexdef(i.indexrelid)
       END AS definition,
       CASE WHEN con.contype IN ('p', 'u', 'x') THEN
         format('CREATE %%sINDEX %%I ON %%s%%I.%%I ',
                CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, ic.relname,
                CASE ic.relkind WHEN 'I' THEN 'ONLY ' ELSE '' END, cn.nspname, c.relname)
       END AS prefix,
       CASE WHEN con.contype IN ('p', 'u') AND ic.reloptions IS NOT NULL THEN (
         SELECT string_agg(quote_ident(o.name) || '='
                           || CASE quote_ident(o.value) WHEN o.value THEN o.value
                              ELSE quote_literal(o.value) END, ', ' ORDER BY o.position)
         FROM (SELECT split_part(p.option, '=', 1),
                      substr(p.option, strpos(p.option, '=') + 1), p.position
               FROM unnest(ic.reloptions) WITH ORDINALITY AS p(option, position)
              ) AS o(name, value, position))
       END AS options,
       rn.nspname, r.relname, con.confrelid, con.confkey,
       CASE WHEN r.relnamespace <> ALL(%(spaces)s::oid[]) THEN ARRAY(
         SELECT a.attname::text FROM unnest(con.confkey) WITH ORDINALITY AS k(number, position)
         JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum = k.number
         ORDER BY k.position)
       END AS referenced
FROM pg_catalog.pg_constraint AS con
JOIN pg_catalog.pg_class AS c ON c.oid = con.conrelid
JOIN pg_catalog.pg_namespace AS cn ON cn.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class AS ic ON ic.oid = con.conindid
LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = con.conindid
LEFT JOIN pg_catalog.pg_class AS r ON r.oid = con.confrelid
LEFT JOIN pg_catalog.pg_namespace AS rn ON rn.oid = r.relnamespace
LEFT JOIN pg_catalog.pg_description AS d
  ON d.classoid = 'pg_catalog.pg_constraint'::regclass AND d.objoid = con.oid
WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND con.contype IN ('p', 'u', 'c', 'f', 'x')
  AND con.conparentid = 0 AND (con.conislocal OR con.coninhcount = 0)
