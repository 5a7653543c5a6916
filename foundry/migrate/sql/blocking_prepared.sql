-- Prepared transactions that have a lock on what a server process waits for, with the mode of
-- either side. They have no pid, but a virtual transaction: that of the session that prepared
-- them, or one made up after a restart.
SELECT w.mode, h.mode, p.gid, p.owner::text,
       extract(epoch FROM clock_timestamp() - p.prepared)::float8
FROM pg_catalog.pg_locks AS w
JOIN pg_catalog.pg_locks AS h
  ON h.pid IS NULL AND h.granted
 -- A mark of serializable transactions, which keeps nobody waiting.
 AND h.mode <> 'SIReadLock'
 AND (h.locktype, h.database, h.relation, h.page, h.tuple, h.virtualxid,
      h.transactionid, h.classid, h.objid, h.objsubid)
     IS NOT DISTINCT FROM
     (w.locktype, w.database, w.relation, w.page, w.tuple, w.virtualxid,
      w.transactionid, w.classid, w.objid, w.objsubid)
JOIN pg_catalog.pg_locks AS x
  ON x.pid IS NULL AND x.granted AND x.locktype = 'transactionid'
 AND x.virtualtransaction = h.virtualtransaction
JOIN pg_catalog.pg_prepared_xacts AS p ON p.transaction = x.transactionid
WHERE w.pid = %(pid)s AND NOT w.granted
ORDER BY p.prepared, p.gid
