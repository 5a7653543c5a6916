-- Functions whose result differs from call to call.
SELECT array_agg(oid)
FROM pg_catalog.pg_proc
WHERE provolatile = 'v' AND oid = ANY(%(functions)s::oid[])
