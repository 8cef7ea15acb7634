"""What can happen in a soaked day, done to the real processes."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from marketdata.models import BrokerAccount
from tests.soak.portfolio import Held
from tests.soak.schedule import Day, Planned
from tests.support.house import House

ORDER_TROUBLES: Sequence[tuple[str, dict[str, object]]] = (
    ("lost_reply", {}),
    ("latency", {"delay_s": 2.0, "booked": True}),
    ("cut_before", {}),
    ("server_error", {"booked": True}),
    ("rate_limited", {}),
    ("partial", {}),
    ("rest", {}),
    ("hide", {"hide_s": 6.0}),
)
SILENCE_S = 9.0
REFUSED_S = 6.0


@dataclass(slots=True)
class Happenings:
    """Each public method is one happening; ``mend`` ends whatever lasts."""

    day: Day
    house: House
    accounts: Sequence[BrokerAccount]
    held: Sequence[Held]
    database: Path
    counts: Counter[str] = field(default_factory=Counter)
    _mending: list[Callable[[], object]] = field(default_factory=list)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.day.seed)

    def happen(self, planned: Planned) -> None:
        """Do what is planned."""
        self.counts[planned.what] += 1
        getattr(self, planned.what)(planned.number)

    # --- the market -------------------------------------------------------------------------

    def pace(self, factor: float) -> None:
        self.house.simulator.control.set_rate(self.day.rate * factor)

    def breach(self, number: float) -> None:
        held = self.held[int(number)]
        self.house.simulator.control.set_price(held.symbol, held.beyond)

    # --- feeds ------------------------------------------------------------------------------

    def cut(self, number: float) -> None:
        self.house.simulator.control.drop(self._client(number))

    def refuse(self, number: float) -> None:
        """Refuse new connections for a while, and cut the one there is."""
        self.house.simulator.control.fault("refuse", seconds=REFUSED_S, operation="feed")
        self.cut(number)

    def silence(self, number: float) -> None:
        self.house.simulator.control.fault("silence", account=self._client(number), seconds=SILENCE_S)

    def bad_frame(self, number: float) -> None:
        kind = self._rng.choice(("truncated", "garbage", "unknown"))
        self.house.simulator.control.malformed(self._client(number), kind=kind)

    def token(self, number: float) -> None:
        """Let a login die; a new one is entered when it is mended."""
        account, control = self.accounts[int(number)], self.house.simulator.control
        control.kill_token(account.client_id, drop=True)
        self._mending.append(lambda: _log_in(account, control.mint_token(account.client_id)))

    # --- what stands beside -----------------------------------------------------------------

    def redis(self, _: float) -> None:
        self.house.valkey.kill()
        self._mending.append(self.house.valkey.start)

    def lock(self, _: float) -> None:
        """Hold the database's only writing lock."""
        connection = sqlite3.connect(self.database, isolation_level=None, timeout=10)
        connection.execute("BEGIN IMMEDIATE")
        self._mending.append(connection.close)

    # --- orders -----------------------------------------------------------------------------

    def order_trouble(self, number: float) -> None:
        name, options = self._rng.choice(ORDER_TROUBLES)
        client = self.held[int(number)].account.client_id
        self.house.simulator.control.fault(name, account=client, operation="place", **options)
        self.counts[name] += 1

    def mend(self, _: float = 0) -> None:
        """End whatever lasts."""
        while self._mending:
            self._mending.pop()()

    def _client(self, number: float) -> str:
        return self.accounts[int(number)].client_id


def _log_in(account: BrokerAccount, token: str) -> None:
    account.access_token = token
    account.save(update_fields=["access_token"])
