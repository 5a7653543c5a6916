"""A question that a file asks where it runs: does anything it does not know hang on a column?

The database it was written for may have had less: what a column takes along when it is dropped
goes without a word.
"""

from __future__ import annotations

from collections.abc import Collection

from foundry.migrate.spelling import literal

_TEXT = """
DECLARE
    found text;
BEGIN
    SELECT string_agg(DISTINCT what, ', ') INTO found FROM (
        SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
        FROM pg_depend AS d
        LEFT JOIN pg_attribute AS a ON (a.attrelid, a.attnum) = (d.refobjid, d.refobjsubid)
        LEFT JOIN pg_constraint AS c ON (d.classid, d.objid) = ('pg_constraint'::regclass, c.oid)
        LEFT JOIN pg_class AS i ON (d.classid, d.objid) = ('pg_class'::regclass, i.oid)
        WHERE (d.refclassid, d.refobjid) = ('pg_class'::regclass, {table}::regclass)
          AND CASE WHEN d.refobjsubid = 0
              THEN d.classid IN ('pg_trigger'::regclass, 'pg_rewrite'::regclass)
                  AND d.deptype = 'a'
              ELSE a.attname IN ({columns})
                  AND d.classid <> 'pg_attrdef'::regclass AND c.contype IS DISTINCT FROM 'n'
                  AND (coalesce(c.conname, i.relname) IN ({known})) IS NOT TRUE END
        UNION ALL
        SELECT 'rights to column ' || attname FROM pg_attribute
        WHERE attrelid = {table}::regclass AND attname IN ({columns}) AND attacl IS NOT NULL
    ) AS f (what);
    IF found IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'dependent_objects_still_exist',
            MESSAGE = 'more hangs on the column than this file knows of: drop that, run it '
                'again, and make it again afterwards', DETAIL = found;
    END IF;
END
"""


def alone(table: str, columns: Collection[str], known: Collection[str]) -> str:
    """Return a statement that fails where triggers, rules or others hang on columns of a table.

    `table` is in quotes where it needs them; `known` are indexes and constraints that may.
    """

    texts = {"table": literal(table), "columns": _listed(columns), "known": _listed(known)}
    return f"DO {literal(_TEXT.format(**texts))}"


def _listed(names: Collection[str]) -> str:
    return ", ".join(literal(name) for name in sorted(set(names))) or "NULL"
