-- What decides whether an UPDATE of a table may be run in parts.
SELECT c.oid::bigint AS oid,
       c.relkind::text AS kind,
       c.relkind = 'r' AND EXISTS (
           SELECT FROM pg_catalog.pg_inherits WHERE inhparent = c.oid) AS parent,
       EXISTS (
           SELECT FROM pg_catalog.pg_rewrite
           WHERE ev_class = c.oid AND ev_type = '2' AND ev_enabled <> 'D') AS rules,
       pg_catalog.row_security_active(c.oid) AS secured,
       -- Bit 4 of tgtype: on UPDATE. Row triggers of partitions fire too; one that names
       -- columns fires where one of those is set.
       (SELECT t.tgname FROM pg_catalog.pg_trigger AS t
        WHERE (t.tgrelid = c.oid
               OR t.tgrelid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid)))
          AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 16 <> 0
          AND (t.tgattr = '' OR EXISTS (
              SELECT FROM pg_catalog.pg_attribute AS a
              WHERE a.attrelid = t.tgrelid AND a.attnum = ANY (t.tgattr::int2[])
                AND a.attname = ANY (%(assigned)s::name[])))
        ORDER BY t.tgname LIMIT 1) AS trigger,
       (SELECT coalesce(sum(greatest(l.reltuples, 0)), 0)::bigint
        FROM pg_catalog.pg_class AS l
        WHERE l.oid = c.oid
           OR c.relkind = 'p' AND l.oid IN (
               SELECT relid FROM pg_catalog.pg_partition_tree(c.oid) WHERE isleaf)) AS estimate
FROM pg_catalog.pg_class AS c
WHERE c.oid = pg_catalog.to_regclass(%(table)s)
