"""Telling of active strategies whose stop cannot be watched: their rows do not say what they must.

The services let no such row come about; a hand in the database can. It costs no other strategy
its stop, but its owner has to know.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial

from django.db import Error, transaction

from marketdata.domain.clock import Clock
from strategies.alerts import close_open, commit_alert
from strategies.arming import Unarmed
from strategies.models import Alert
from strategies.records import at

logger = logging.getLogger(__name__)

KIND = "not_armed"


class UnarmedNews:
    """Commits an alert for each, and closes it when its row is in order. Blocks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: object = None  # None: what an earlier process told is not known

    def tell(self, unarmed: Sequence[Unarmed], users: Collection[int] | None = None) -> None:
        """Bring the open alerts of these users (None: of all) to what cannot be armed now.

        Free when that has not changed.
        """
        news = (list(unarmed), None if users is None else set(users))
        if news == self._told:
            return
        try:
            self._commit(unarmed, users, at(self._clock.time()))
        except Error:  # telling comes second: it is tried again with the next reading
            logger.exception("could not write which stops are not watched")
        else:
            self._told = news

    @staticmethod
    def _commit(unarmed: Sequence[Unarmed], users: Collection[int] | None, now: datetime) -> None:
        texts = {row: _text(row) for row in unarmed}
        over = Alert.objects.filter(kind=KIND, closed_at=None).exclude(text__in=texts.values())
        if users is not None:  # the others are another process's to tell of
            over = over.filter(user__in=users)
        with transaction.atomic():
            close_open(now, pk__in=list(over.values_list("pk", flat=True)))
            for row, text in texts.items():
                logger.error("%s", text)
                _alert(row, text, now)


def _alert(row: Unarmed, text: str, now: datetime) -> None:
    commit = partial(commit_alert, user_id=row.user_id, kind=KIND, text=text, at=now)
    try:
        commit(strategy_id=row.strategy_id)
    except (
        ArithmeticError,
        TypeError,
        ValueError,
    ):  # what keeps it from being armed keeps it from being named
        commit(account_id=row.account_id)


def _text(row: Unarmed) -> str:
    return (
        f"Strategy {row.strategy_id} is active, but its stop is not watched: {row.reason}. "
        "Watch the position yourself; stop the strategy, correct it and start it again."
    )
