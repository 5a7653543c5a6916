-- The namespace of a history: where it is, else where it would be made.
SELECT coalesce(
    (SELECT n.nspname FROM pg_catalog.pg_class AS c
     JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
     WHERE c.oid = pg_catalog.to_regclass(%(quoted)s)),
    pg_catalog.current_schema())
