"""Rows that nothing can come before any more: what makes ``since`` safe to go on from.

An id is given out before its transaction commits. On PostgreSQL a later id can therefore be seen
earlier, and whoever went on from it would never see the other. SQLite writes one transaction at a
time, so there ids become visible in order.
"""

from __future__ import annotations

import time
from typing import TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)

_GIVEN_OUT = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence(%s, 'id')::regclass), 0)"
_UNNUMBERED = """
    SELECT EXISTS (
        SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE relation = %s::regclass AND mode = 'RowExclusiveLock' AND backend_xid IS NULL
            AND datname = current_database()
    )
"""
"""Somebody writes there whose transaction has no number yet: it may hold an id already."""
_IS_OVER = "NOT (age({table}.xmin) BETWEEN 0 AND age(pg_snapshot_xmin(pg_current_snapshot())::xid))"
"""Its transaction is older than every one that is still open. ``age`` of what is very old is negative."""
_LOOKS, _PAUSE_S = 20, 0.005


def settled(rows: QuerySet[M]) -> QuerySet[M]:
    """Return those of ``rows`` that no row with a lower id can follow.

    Ids beyond those that were given out when this began are left for the next time. Each of these is in
    a transaction that is over, or that has a number, which keeps later ones back until it is over.
    """
    if connection.vendor != "postgresql":
        return rows
    table = connection.ops.quote_name(rows.model._meta.db_table)
    highest = _asked(_GIVEN_OUT, table)
    for _ in range(_LOOKS):
        if not _asked(_UNNUMBERED, table):
            known = rows.filter(pk__lte=highest)
            return known.extra(where=[_IS_OVER.format(table=table)])  # noqa: S610 - of nobody's text
        time.sleep(_PAUSE_S)  # between its id and its number there is next to nothing
    return rows.none()


def _asked(question: str, table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(question, [table])
        return int(cursor.fetchone()[0])
