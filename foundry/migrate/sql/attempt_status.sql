-- What became of a transaction.
SELECT pg_catalog.pg_xact_status(%s::xid8)
