-- The unique indexes that order all rows of a table, the primary key first: the names, types
-- and collations of their columns, the operators <, <=, >= and > that they are sorted by, and
-- whether a new row gets a key behind all others: its value is the next of a sequence.
SELECT pg_catalog.array_agg(a.attname::text ORDER BY k.place) AS columns,
       pg_catalog.array_agg(pg_catalog.format_type(a.atttypid, -1) ORDER BY k.place) AS types,
       pg_catalog.array_agg(
           (SELECT pg_catalog.format('%%I.%%I', n.nspname, l.collname)
            FROM pg_catalog.pg_collation AS l
            JOIN pg_catalog.pg_namespace AS n ON n.oid = l.collnamespace
            WHERE l.oid = k.collation)
           ORDER BY k.place) AS collations,
       pg_catalog.min(o.operators) AS operators,
       i.indnkeyatts = 1 AND pg_catalog.bool_and(
           a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
           AND EXISTS (
               SELECT FROM pg_catalog.pg_sequence AS s
               WHERE s.seqincrement > 0 AND NOT s.seqcycle AND s.seqrelid IN (
                   SELECT d.objid FROM pg_catalog.pg_depend AS d
                   WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'i'
                     AND d.refclassid = 'pg_catalog.pg_class'::regclass
                     AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
                   UNION ALL
                   SELECT d.refobjid
                   FROM pg_catalog.pg_attrdef AS x
                   JOIN pg_catalog.pg_depend AS d
                       ON d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.objid = x.oid
                      AND d.refclassid = 'pg_catalog.pg_class'::regclass
                   WHERE x.adrelid = a.attrelid AND x.adnum = a.attnum
                     AND pg_catalog.pg_get_expr(x.adbin, x.adrelid)
                         ~ '^nextval\(''[^'']+''::regclass\)$'))) AS grows
FROM pg_catalog.pg_index AS i
JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_am AS m ON m.oid = c.relam AND m.amname = 'btree'
CROSS JOIN LATERAL (
    SELECT place + 1 AS place, i.indkey[place] AS attnum, i.indclass[place] AS class,
           i.indcollation[place] AS collation, i.indoption[place] AS option
    FROM pg_catalog.generate_series(0, i.indnkeyatts - 1) AS place) AS k
LEFT JOIN pg_catalog.pg_attribute AS a
    ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND a.attnum > 0 AND a.attnotnull
   AND a.attgenerated = '' AND a.attname <> ALL (%(assigned)s::name[])
   -- Such rows as were there before may still be NULL.
   AND NOT EXISTS (
       SELECT FROM pg_catalog.pg_constraint AS v
       WHERE v.conrelid = i.indrelid AND v.contype = 'n' AND NOT v.convalidated
         AND v.conkey = ARRAY[a.attnum])
JOIN pg_catalog.pg_opclass AS f ON f.oid = k.class
CROSS JOIN LATERAL (
    SELECT pg_catalog.array_agg(
        pg_catalog.format('OPERATOR(%%I.%%s)', n.nspname, p.oprname) ORDER BY s.amopstrategy)
    FROM pg_catalog.pg_amop AS s
    JOIN pg_catalog.pg_operator AS p ON p.oid = s.amopopr
    JOIN pg_catalog.pg_namespace AS n ON n.oid = p.oprnamespace
    WHERE s.amopfamily = f.opcfamily AND s.amoplefttype = f.opcintype
      AND s.amoprighttype = f.opcintype AND s.amopstrategy IN (1, 2, 4, 5)
) AS o (operators)
WHERE i.indrelid = %(oid)s AND i.indisunique AND i.indisvalid AND i.indisready
  AND i.indpred IS NULL
GROUP BY i.indexrelid, i.indisprimary, i.indimmediate, i.indnkeyatts, c.relname
-- Columns of a comparison of rows share their operators and their direction; 0 and 3 are
-- what ORDER BY and ORDER BY DESC read off an index.
HAVING bool_and(a.attnum IS NOT NULL)
   AND pg_catalog.min(o.operators) = pg_catalog.max(o.operators)
   AND pg_catalog.min(k.option) = pg_catalog.max(k.option) AND pg_catalog.min(k.option) IN (0, 3)
ORDER BY i.indisprimary DESC, i.indimmediate DESC, i.indnkeyatts, c.relname
