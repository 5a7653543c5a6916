-- What DEFAULT stands for in some columns of a table.
SELECT a.attname::text, pg_catalog.pg_get_expr(d.adbin, d.adrelid)
FROM pg_catalog.pg_attribute AS a
JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = %(oid)s AND a.attname = ANY (%(names)s::name[]) AND a.attgenerated = ''
