-- What has a say in every CREATE: event triggers, privileges that new objects get, and
-- publications that new tables are in.
SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D')
    OR EXISTS (SELECT FROM pg_catalog.pg_default_acl)
    OR EXISTS (SELECT FROM pg_catalog.pg_publication WHERE puballtables)
