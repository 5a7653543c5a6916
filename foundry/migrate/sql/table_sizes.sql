-- What tables take up with their partitions and children, by tablespace. A relation that has
-- none of its own is in the database's.
WITH RECURSIVE family(number, oid) AS (
    SELECT t.number, pg_catalog.to_regclass(t.name)::oid
    FROM unnest(%(names)s::text[]) WITH ORDINALITY AS t(name, number)
    WHERE pg_catalog.to_regclass(t.name) IS NOT NULL
    UNION
    SELECT f.number, i.inhrelid FROM family AS f JOIN pg_catalog.pg_inherits AS i ON i.inhparent = f.oid
), base AS (
    SELECT dattablespace FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
), parts AS (
    SELECT f.number, c.reltablespace, pg_catalog.pg_table_size(c.oid) AS size,
           c.reltuples, pg_catalog.pg_relation_size(c.oid) AS heap
    FROM family AS f JOIN pg_catalog.pg_class AS c ON c.oid = f.oid
    WHERE c.relkind IN ('r', 'm')
    UNION ALL
    SELECT f.number, c.reltablespace, pg_catalog.pg_relation_size(c.oid), NULL, NULL
    FROM family AS f
    JOIN pg_catalog.pg_index AS i ON i.indrelid = f.oid
    JOIN pg_catalog.pg_class AS c ON c.oid = i.indexrelid
    WHERE c.relkind = 'i'
)
SELECT number::int,
       coalesce(nullif(reltablespace, 0), dattablespace)::int8,
       sum(size)::int8,
       coalesce(sum(size) FILTER (WHERE heap IS NOT NULL), 0)::int8,
       coalesce(sum(reltuples) FILTER (WHERE reltuples > 0), 0)::float8,
       coalesce(sum(heap), 0)::int8
FROM parts CROSS JOIN base
GROUP BY 1, 2
ORDER BY 1, 2
