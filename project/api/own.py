"""Rows of the user who asks. What is somebody else's does not exist."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from project.api.errors import ApiError

M = TypeVar("M", bound=Model)
MOST = 500
_LARGEST_ID = 2**63 - 1


def one(rows: QuerySet[M], pk: int, what: str, listed_at: str) -> M:
    """Return one of ``rows``.

    Raises:
        ApiError: It is not among them; the text says where they are listed.

    """
    row = rows.filter(pk=pk).first() if 0 < pk <= _LARGEST_ID else None
    if row is None:
        text = f"There is no {what} {pk} of yours: GET /api/v1/{listed_at} lists them."
        raise ApiError(404, "not_found", text)
    return row


def page(rows: QuerySet[M], limit: int) -> tuple[Sequence[M], int | None]:
    """Return up to ``limit`` rows, and the id to go on from; None when there are no more."""
    found: list[Any] = list(rows[: limit + 1])
    return found[:limit], found[limit - 1].pk if len(found) > limit else None
