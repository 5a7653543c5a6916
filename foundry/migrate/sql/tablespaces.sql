-- Where tablespaces are; empty for those inside the data directory. Then where new indexes go.
SELECT t.oid::int8, pg_catalog.pg_tablespace_location(t.oid),
       t.oid = coalesce(
           (SELECT named.oid FROM pg_catalog.pg_tablespace AS named
            WHERE named.spcname = pg_catalog.current_setting('default_tablespace')),
           d.dattablespace)
FROM pg_catalog.pg_tablespace AS t
JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database()
