SELECT installed_version, default_version
FROM pg_catalog.pg_available_extensions
WHERE name = %(name)s
