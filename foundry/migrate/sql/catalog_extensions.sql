-- Extensions somebody installed; plpgsql comes with the server.
SELECT extname FROM pg_catalog.pg_extension WHERE oid >= 16384
