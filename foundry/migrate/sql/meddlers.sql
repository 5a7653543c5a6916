-- What has a say in every CREATE: event triggers, and privileges that new objects get.
SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D')
    OR EXISTS (SELECT FROM pg_catalog.pg_default_acl)
