SELECT pg_catalog.pg_is_in_recovery(),
       s.setting,
       s.source,
       pg_catalog.current_setting('transaction_read_only'),
       pg_catalog.current_database(),
       session_user::text
FROM pg_catalog.pg_settings AS s
WHERE s.name = 'default_transaction_read_only'
