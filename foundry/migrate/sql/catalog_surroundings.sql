-- A number for what, beside the statements themselves, decides what the server makes of them:
-- itself, who asks, settings that new objects and their texts take over, and everything that a
-- name can mean and that is no table. A row that was written anew has another xmin.
SELECT md5(string_agg(found.text, ',' ORDER BY found.text COLLATE "C"))
FROM (
    SELECT version() || current_user || current_schemas(true)::text
    UNION ALL
    SELECT s.name || '=' || s.setting FROM pg_catalog.pg_settings AS s
    WHERE (s.category LIKE 'Client Connection Defaults %%'
           OR s.category LIKE 'Version and Platform Compatibility %%')
      AND s.name NOT LIKE '%%timeout%%' AND s.name NOT LIKE '%%transaction\_%%'
    UNION ALL
    SELECT r.kind || r.oid || ' ' || r.xmin
    FROM (
        SELECT 'type', t.oid, t.xmin FROM pg_catalog.pg_type AS t
        WHERE t.typtype <> 'c' AND t.typcategory <> 'A'
        UNION ALL SELECT 'composite', oid, xmin FROM pg_catalog.pg_class WHERE relkind = 'c'
        UNION ALL SELECT 'label', oid, xmin FROM pg_catalog.pg_enum
        UNION ALL SELECT 'domain', oid, xmin FROM pg_catalog.pg_constraint WHERE contypid <> 0
        UNION ALL SELECT 'function', oid, xmin FROM pg_catalog.pg_proc
        UNION ALL SELECT 'operator', oid, xmin FROM pg_catalog.pg_operator
        UNION ALL SELECT 'class', oid, xmin FROM pg_catalog.pg_opclass
        UNION ALL SELECT 'cast', oid, xmin FROM pg_catalog.pg_cast
        UNION ALL SELECT 'collation', oid, xmin FROM pg_catalog.pg_collation
        UNION ALL SELECT 'search', oid, xmin FROM pg_catalog.pg_ts_config
        UNION ALL SELECT 'language', oid, xmin FROM pg_catalog.pg_language
        UNION ALL SELECT 'method', oid, xmin FROM pg_catalog.pg_am
        UNION ALL SELECT 'extension', oid, xmin FROM pg_catalog.pg_extension
        UNION ALL SELECT 'event', oid, xmin FROM pg_catalog.pg_event_trigger
        UNION ALL SELECT 'namespace', oid, xmin FROM pg_catalog.pg_namespace
    ) AS r(kind, oid, xmin)
    WHERE r.oid >= 16384
    UNION ALL
    SELECT 'default' || a.oid || ' ' || a.xmin FROM pg_catalog.pg_default_acl AS a
) AS found(text)
