"""How long it took from a decision to the order that follows it, read from the rows afterwards."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from strategies.models import ExitOrder
from strategies.records import trading_day


class FirstOrders:
    """The first orders of exits, each told once."""

    def __init__(self, now: float) -> None:
        """Start with those that are sent after UNIX time ``now``."""
        self._since = datetime.fromtimestamp(now, UTC)

    def read(self, owned: Collection[int] | None, now: float) -> list[float]:
        """Return, in seconds, how long each took since the last call. Blocks.

        Args:
            owned: Whose exits; None: everybody's.
            now: UNIX seconds; an order belongs to the day it is sent on.

        """
        rows = ExitOrder.objects.filter(
            trading_day=trading_day(now), sent_at__gt=self._since, slice_no=1, try_no=1
        )
        if owned is not None:
            rows = rows.filter(account__user__in=owned)
        found: list[float] = []
        for sent_at, evidence in rows.order_by("sent_at").values_list("sent_at", "exit__evidence"):
            assert sent_at is not None  # noqa: S101 - it was asked for
            self._since = sent_at
            if (decided_at := evidence.get("decided_at")) is not None:  # a person's wish has none
                found.append(sent_at.timestamp() - float(decided_at))
        return found
