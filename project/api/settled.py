"""Rows that nothing can come before any more: what makes ``since`` safe to go on from.

An id is given out before its transaction commits. On PostgreSQL a later id can therefore be seen
earlier, and whoever went on from it would never see the other. SQLite writes one transaction at a
time, so there ids become visible in order.
"""

from __future__ import annotations

from typing import TypeVar

from django.db import connection
from django.db.models import Model, QuerySet

M = TypeVar("M", bound=Model)

_IS_OVER = "NOT (age({table}.xmin) BETWEEN 0 AND age(pg_snapshot_xmin(pg_current_snapshot())::xid))"
"""Its transaction is older than every one that is still open. ``age`` of what is very old is negative."""


def settled(rows: QuerySet[M]) -> QuerySet[M]:
    """Return those of ``rows`` that every transaction which began before theirs is over for."""
    if connection.vendor != "postgresql":
        return rows
    table = connection.ops.quote_name(rows.model._meta.db_table)
    return rows.extra(where=[_IS_OVER.format(table=table)])  # noqa: S610 - of nobody's text
