"""What the lease keeper has done for the users it gains and loses."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Protocol

from django.db import transaction

from marketdata.database import DatabaseThread
from marketdata.domain.clock import Clock
from marketdata.manager import ListenerManager
from strategies import deliveries
from strategies.alerts import announce, close_open, commit_alert
from strategies.announcing import Announcer
from strategies.engine import ExitEngine

KIND = "no_owner"


class Workplace(Protocol):
    """Where the work is done."""

    @property
    def engine(self) -> ExitEngine: ...

    @property
    def manager(self) -> ListenerManager: ...


class HouseCrew:
    """Implements ``marketdata.keeper.Crew`` for one ``run_listeners``."""

    def __init__(
        self, house: Workplace, database: DatabaseThread, announcer: Announcer, clock: Clock
    ) -> None:
        self._house = house
        self._database = database
        self._announcer = announcer
        self._clock = clock

    async def recover(self, users: Collection[int]) -> None:
        """Take up their exits and arm their stops, and what their last owner was about to tell."""
        await self._house.engine.recover(users)
        await self._database.run(deliveries.release, users, self._now())

    def begin(self) -> None:
        """Look at once which feeds to run."""
        self._house.manager.hint()

    def release(self, users: Collection[int], most: int) -> frozenset[int]:
        """Stop watching for up to ``most`` of these users: none whose exit is worked, or may be about to begin."""
        at_rest = [user for user in sorted(users) if self._house.engine.is_at_rest(user)][:most]
        for user_id in at_rest:
            self._house.engine.monitor.disarm_user(user_id)
        return frozenset(at_rest)

    async def drop(self, users: Collection[int]) -> None:
        """End their feeds and their exits' work, side by side."""
        await asyncio.gather(self._house.engine.drop(users), self._house.manager.stop_users(users))

    async def tell(self, troubles: Mapping[int, str], over: Collection[int]) -> None:
        """Commit an alert for each user in trouble, and close those whose trouble is over."""
        await self._database.run(self._commit, troubles, over)

    def _commit(self, troubles: Mapping[int, str], over: Collection[int]) -> None:
        now = self._now()
        with transaction.atomic():
            close_open(now, [KIND], user__in=over)
            for user_id, text in troubles.items():
                alert = commit_alert(user_id=user_id, kind=KIND, text=text, at=now)
                if alert is not None:
                    announce(alert, self._announcer)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)
