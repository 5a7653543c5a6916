-- For the transaction: the path names are printed under, and every setting that changes how a
-- constant is printed. What is printed needs ACCESS SHARE on its table, and is not waited for long.
-- Temporary tables come last, or one would hide a table of its name.
-- No parallel workers and no compiled plans: both cost more than these questions do.
SELECT set_config('search_path',
                  (SELECT coalesce(string_agg(quote_ident(p.name) || ', ', ''
                                              ORDER BY p.position), '') || 'pg_temp'
                   FROM unnest(%(path)s::text[]) WITH ORDINALITY AS p(name, position)), true),
       set_config('quote_all_identifiers', 'off', true),
       set_config('standard_conforming_strings', 'on', true),
       set_config('DateStyle', 'ISO, YMD', true),
       set_config('IntervalStyle', 'postgres', true),
       set_config('TimeZone', 'UTC', true),
       set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '1', true),
       set_config('xmlbinary', 'base64', true),
       set_config('lc_monetary', 'C', true),
       set_config('lock_timeout', '5s', true),
       set_config('jit', 'off', true),
       set_config('max_parallel_workers_per_gather', '0', true)
