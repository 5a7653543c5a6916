-- Columns of tables and views, in their order. Only PostgreSQL 18 has constraints of type 'n' on
-- tables. `nodes` is the parsed default where it calls functions.
SELECT a.attrelid, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
       a.attnotnull, n.conname, n.convalidated,
       pg_get_expr(ad.adbin, ad.adrelid),
       CASE WHEN ad.adbin::text LIKE '%%funcid %%' THEN ad.adbin::text END AS nodes,
       a.attidentity, a.attgenerated,
       CASE WHEN a.attcollation <> t.typcollation THEN (
         SELECT format('%%I.%%I', cn.nspname, co.collname)
         FROM pg_catalog.pg_collation AS co
         JOIN pg_catalog.pg_namespace AS cn ON cn.oid = co.collnamespace
         WHERE co.oid = a.attcollation)
       END AS collation,
       CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage END AS storage,
       a.attcompression, coalesce(a.attstattarget, -1), a.attoptions, d.description,
       en.nspname, e.typname,
       t.typtype = 'd' AND EXISTS (
         WITH RECURSIVE below (oid, base, required) AS (
           SELECT t.oid, t.typbasetype, t.typnotnull
           UNION ALL SELECT b.oid, b.typbasetype, b.typnotnull
           FROM below JOIN pg_catalog.pg_type AS b ON b.oid = below.base)
         SELECT FROM below LEFT JOIN pg_catalog.pg_constraint AS k ON k.contypid = below.oid
         WHERE below.required OR k.oid IS NOT NULL) AS checked,
       CASE WHEN t.typtype = 'd' THEN (
         WITH RECURSIVE below (oid, modifier) AS (
           SELECT t.typbasetype, t.typtypmod
           UNION ALL SELECT b.typbasetype, greatest(below.modifier, b.typtypmod)
           FROM below JOIN pg_catalog.pg_type AS b ON b.oid = below.oid AND b.typtype = 'd')
         SELECT format_type(below.oid, max(below.modifier) OVER ())
         FROM below JOIN pg_catalog.pg_type AS b ON b.oid = below.oid AND b.typtype <> 'd')
       END AS base
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_catalog.pg_type AS e
  ON e.typtype = 'e' AND e.oid = CASE t.typtype WHEN 'e' THEN t.oid ELSE t.typelem END
LEFT JOIN pg_catalog.pg_namespace AS en ON en.oid = e.typnamespace
LEFT JOIN pg_catalog.pg_attrdef AS ad
  ON a.atthasdef AND ad.adrelid = a.attrelid AND ad.adnum = a.attnum
LEFT JOIN pg_catalog.pg_constraint AS n
  ON n.contype = 'n' AND n.conrelid = a.attrelid AND n.conkey[1] = a.attnum
LEFT JOIN pg_catalog.pg_description AS d
  ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = a.attnum
WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND c.relkind IN ('r', 'p', 'v', 'm')
ORDER BY a.attrelid, a.attnum
