-- Indexes no constraint owns; not those a partition has from its parent.
SELECT i.indexrelid, i.indrelid, ic.relname, i.indisunique,
       i.indisvalid AND i.indisready AND i.indislive, d.description,
       i.indkey::text, i.indnkeyatts, am.amname, pg_get_expr(i.indpred, i.indrelid),
       pg_get_indexdef(i.indexrelid),
       format('CREATE %%sINDEX %%I ON %%s%%I.%%I ',
              CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, ic.relname,
              CASE ic.relkind WHEN 'I' THEN 'ONLY ' ELSE '' END, cn.nspname, c.relname),
       CASE WHEN i.indisunique AND i.indexprs IS NOT NULL THEN ARRAY(
         SELECT pg_get_indexdef(i.indexrelid, k.number, false)
         FROM generate_series(1, i.indnkeyatts) AS k(number) ORDER BY k.number)
       END AS terms
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS cn ON cn.oid = c.relnamespace
JOIN pg_catalog.pg_index AS i ON i.indrelid = c.oid
JOIN pg_catalog.pg_class AS ic ON ic.oid = i.indexrelid
JOIN pg_catalog.pg_am AS am ON am.oid = ic.relam
LEFT JOIN pg_catalog.pg_description AS d
  ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = ic.oid AND d.objsubid = 0
WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND c.relkind IN ('r', 'p', 'm')
  AND NOT ic.relispartition
  AND i.indexrelid NOT IN (
    SELECT conindid FROM pg_catalog.pg_constraint WHERE contype IN ('p', 'u', 'x'))
