-- Columns that unique indexes and exclusion constraints look at, in a table and its partitions;
-- "computed" where an expression or a condition does.
SELECT a.attname::text AS name, pg_catalog.bool_or(found.computed) AS computed
FROM pg_catalog.pg_index AS i
CROSS JOIN LATERAL (
    SELECT k.attnum::int, false
    FROM pg_catalog.unnest(i.indkey::int2[]) AS k (attnum)
    UNION ALL
    SELECT d.refobjsubid, true
    FROM pg_catalog.pg_depend AS d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = i.indexrelid
      AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = i.indrelid
      AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
) AS found (attnum, computed)
JOIN pg_catalog.pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = found.attnum
WHERE (i.indisunique OR i.indisexclusion) AND a.attnum > 0
  AND (i.indrelid = %(oid)s
       OR i.indrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(%(oid)s::regclass)))
GROUP BY a.attname
