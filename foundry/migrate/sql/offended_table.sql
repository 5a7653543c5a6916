-- Columns of a table's primary key, quoted as need be, and a constraint's definition.
SELECT ARRAY(
        SELECT pg_catalog.quote_ident(a.attname)
        FROM pg_catalog.pg_constraint AS k
        CROSS JOIN unnest(k.conkey) WITH ORDINALITY AS part (attnum, place)
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = part.attnum
        WHERE k.conrelid = t.oid AND k.contype = 'p'
        ORDER BY part.place),
    (SELECT pg_catalog.pg_get_constraintdef(c.oid)
     FROM pg_catalog.pg_constraint AS c
     WHERE c.conrelid = t.oid AND c.conname = %(constraint)s)
FROM (SELECT pg_catalog.to_regclass(%(table)s)) AS t (oid)
WHERE t.oid IS NOT NULL
