-- Is this connection encrypted, and which server is it?
SELECT coalesce((SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()),
                false),
       pg_catalog.current_setting('server_version')
