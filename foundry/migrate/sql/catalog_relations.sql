-- Tables, partitioned tables, partitions, views and materialised views. `entangled`: something
-- that nobody could make again rests on the columns as they are: children, a type, publications,
-- extended statistics, security labels, an index that rows are in the order of or that has a
-- tablespace of its own.
SELECT c.oid, c.relnamespace, c.relname, c.relkind, c.relpersistence = 'u' AS unlogged,
       CASE WHEN c.reloptions IS NOT NULL OR toast.oid IS NOT NULL
            THEN c.reloptions || ARRAY(SELECT 'toast.' || o FROM unnest(toast.reloptions) AS o)
       END AS options,
       CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END AS partition_by,
       pn.nspname AS parent_namespace, p.relname AS parent,
       CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END AS bound,
       c.relrowsecurity, c.relforcerowsecurity,
       CASE c.relreplident WHEN 'd' THEN 'DEFAULT' WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING'
            ELSE (SELECT format('USING INDEX %%I', r.relname)
                  FROM pg_catalog.pg_index AS i
                  JOIN pg_catalog.pg_class AS r ON r.oid = i.indexrelid
                  WHERE i.indrelid = c.oid AND i.indisreplident)
       END AS replica_identity,
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END AS query,
       c.relispopulated, d.description,
       ARRAY(SELECT pg_get_ruledef(w.oid) FROM pg_catalog.pg_rewrite AS w
             WHERE w.ev_class = c.oid AND c.relkind = 'v' AND w.rulename <> '_RETURN'
             ORDER BY w.rulename) AS rules,
       c.reloftype <> 0
       OR EXISTS (SELECT FROM pg_catalog.pg_publication WHERE puballtables)
       OR c.relnamespace IN (SELECT pnnspid FROM pg_catalog.pg_publication_namespace)
       OR c.oid IN (
           SELECT inhrelid FROM pg_catalog.pg_inherits
           UNION ALL SELECT inhparent FROM pg_catalog.pg_inherits
           UNION ALL SELECT prrelid FROM pg_catalog.pg_publication_rel
           UNION ALL SELECT stxrelid FROM pg_catalog.pg_statistic_ext
           UNION ALL
           SELECT objoid FROM pg_catalog.pg_seclabel
           WHERE classoid = 'pg_catalog.pg_class'::regclass AND objsubid > 0
           UNION ALL
           SELECT x.indrelid FROM pg_catalog.pg_index AS x
           JOIN pg_catalog.pg_class AS r ON r.oid = x.indexrelid
           WHERE x.indisclustered OR r.reltablespace <> 0) AS entangled,
       CASE WHEN c.relispartition THEN pg_get_partition_constraintdef(c.oid) END AS admits
FROM pg_catalog.pg_class AS c
LEFT JOIN pg_catalog.pg_class AS toast
  ON toast.oid = c.reltoastrelid AND toast.reloptions IS NOT NULL
LEFT JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = c.oid AND c.relispartition
LEFT JOIN pg_catalog.pg_class AS p ON p.oid = i.inhparent
LEFT JOIN pg_catalog.pg_namespace AS pn ON pn.oid = p.relnamespace
LEFT JOIN pg_catalog.pg_description AS d
  ON d.classoid = 'pg_catalog.pg_class'::regclass AND d.objoid = c.oid AND d.objsubid = 0
WHERE c.relnamespace = ANY(%(spaces)s::oid[]) AND c.relkind IN ('r', 'p', 'v', 'm')
  AND c.oid NOT IN (
    SELECT objid FROM pg_catalog.pg_depend
    WHERE classid = 'pg_catalog.pg_class'::regclass
      AND refclassid = 'pg_catalog.pg_extension'::regclass AND deptype = 'e')
