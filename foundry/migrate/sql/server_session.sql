-- Which session of which server this is: process numbers are used again, starts are not.
SELECT pg_catalog.pg_backend_pid(), EXTRACT(epoch FROM s.backend_start)::text
FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS s
