-- How far the command of a server process is: phase, done, total, unit.
SELECT phase,
       CASE WHEN phase LIKE 'waiting%%' THEN lockers_done
            WHEN phase LIKE '%%tuples%%' AND tuples_total > 0 THEN tuples_done
            ELSE blocks_done END,
       CASE WHEN phase LIKE 'waiting%%' THEN lockers_total
            WHEN phase LIKE '%%tuples%%' AND tuples_total > 0 THEN tuples_total
            ELSE blocks_total END,
       CASE WHEN phase LIKE 'waiting%%' THEN 'transactions'
            WHEN phase LIKE '%%tuples%%' AND tuples_total > 0 THEN 'rows'
            ELSE 'blocks' END
FROM pg_catalog.pg_stat_progress_create_index
WHERE pid = %(pid)s AND phase IS NOT NULL
UNION ALL
SELECT phase, heap_blks_scanned, heap_blks_total, 'blocks'
FROM pg_catalog.pg_stat_progress_cluster
WHERE pid = %(pid)s AND phase IS NOT NULL
UNION ALL
SELECT phase,
       CASE WHEN phase = 'vacuuming heap' THEN heap_blks_vacuumed ELSE heap_blks_scanned END,
       heap_blks_total, 'blocks'
FROM pg_catalog.pg_stat_progress_vacuum
WHERE pid = %(pid)s AND phase IS NOT NULL
UNION ALL
SELECT phase, sample_blks_scanned, sample_blks_total, 'blocks'
FROM pg_catalog.pg_stat_progress_analyze
WHERE pid = %(pid)s AND phase IS NOT NULL
