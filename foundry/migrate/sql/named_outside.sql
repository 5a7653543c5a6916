-- Whether something is there that belongs to the server, or is at work for it, by its name.
SELECT CASE %(kind)s
    WHEN 'database' THEN EXISTS (
        SELECT FROM pg_catalog.pg_database WHERE datname = %(name)s)
    WHEN 'tablespace' THEN EXISTS (
        SELECT FROM pg_catalog.pg_tablespace WHERE spcname = %(name)s)
    WHEN 'subscription' THEN EXISTS (
        SELECT FROM pg_catalog.pg_subscription AS s
        JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid
        WHERE s.subname = %(name)s AND d.datname = pg_catalog.current_database())
    ELSE EXISTS (
        SELECT FROM pg_catalog.pg_prepared_xacts
        WHERE gid = %(name)s AND database = pg_catalog.current_database())
    END
