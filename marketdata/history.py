"""Who changed a row and why: for what is written by one UPDATE, which the models' signals never see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import models

Who = AbstractBaseUser | AnonymousUser | str | None
_LONGEST = 100


def record(rows: Sequence[models.Model], *, by: Who, reason: str, is_new: bool = False) -> None:
    """Add the rows as they now are to their history, in one insert; the caller holds the transaction.

    Args:
        rows: Freshly read, all of one model.
        by: Who did it: a user, or in words where there is none.
        reason: What was done, in a few words.
        is_new: They were just inserted, without a signal.

    """
    if not rows:
        return
    person = by if isinstance(by, AbstractBaseUser) else None
    said = f"{reason}, by {by}" if isinstance(by, str) and by else reason
    history: Any = type(rows[0]).history  # type: ignore[attr-defined]  # only such models are given
    history.bulk_history_create(
        rows, update=not is_new, default_user=person, default_change_reason=said[:_LONGEST]
    )
