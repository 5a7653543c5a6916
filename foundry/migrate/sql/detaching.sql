-- Whether a partition is detached by half.
SELECT i.inhdetachpending FROM pg_catalog.pg_inherits AS i
WHERE i.inhrelid = pg_catalog.to_regclass(%(partition)s)
  AND i.inhparent = pg_catalog.to_regclass(%(table)s)
