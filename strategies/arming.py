"""Reading which stops are to be armed. Blocks: call it from one thread of the exit engine's."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from django.db.models import F, QuerySet

from marketdata.digests import UNKNOWN, digests
from marketdata.domain.instruments import canonical, contract_text
from marketdata.domain.prices import to_units
from strategies import records
from strategies.domain.rules import FixedStop
from strategies.domain.stops import Stop
from strategies.models import Strategy

BLOCK = 64
"""How many neighbouring ids are compared as one, and read again when one of them has changed."""

ROUND = 60
"""Within so many readings, two minutes, every row is read again, changed or not."""

_PRICES = ("stop_loss", "instrument__strike")
_COLUMNS = (
    "id",
    "epoch",
    "user_id",
    "account_id",
    "position",
    "quantity",
    "contract",
    "instrument__exchange",
    "instrument__tradingsymbol",
    "instrument__token",
    "instrument__instrument_type",
    "instrument__expiry",
)


_same = lru_cache(1_000)(int)
"""Returns one object for equal numbers, mostly: thousands of stops have few users and quantities."""


@dataclass(frozen=True, slots=True)
class Unarmed:
    """An active strategy with a position whose stop cannot be watched, and why."""

    strategy_id: int
    user_id: int
    account_id: int
    reason: str


class _Block(NamedTuple):
    """What was read of a block of ids, and the digest that was read before."""

    digest: bytes
    stops: list[Stop]
    unarmed: list[Unarmed]


class ArmedReader:
    """Reads what is to be armed, again and again, and makes anew only what has changed.

    Each time the database tells a digest of each block of ids, over all that is read of a strategy and
    of its instrument. A block with the same digest is as it was. Digests are read before rows, so what
    changes in between has another digest the next time.
    """

    def __init__(self) -> None:
        self._blocks: dict[int, _Block] = {}
        self._turn = 0

    def read(self, users: Collection[int] | None = None) -> tuple[list[Stop], list[Unarmed]]:
        """Return every stop that has to be watched, and the rows that say so but cannot be.

        Of these users, or (None) of all. What has not changed is the same object as before.
        """
        active = records.armed(users)
        self._turn += 1
        found = digests(active, F("pk") / BLOCK, (*_COLUMNS, *_PRICES))
        blocks = {block: known for block, known in self._blocks.items() if block in found}
        for run in self._due(found):
            rows = defaultdict(list)
            for row in _rows(active, run):
                rows[row["id"] // BLOCK].append(row)
            for block in run:
                blocks[block] = _block(found[block], rows[block], self._blocks.get(block))
        self._blocks = blocks
        stops = [stop for block in blocks.values() for stop in block.stops]
        return stops, [row for block in blocks.values() for row in block.unarmed]

    def _due(self, found: Mapping[int, bytes]) -> list[list[int]]:
        """Return the blocks to be read, those together that have no other between them."""
        blocks, turn = sorted(found), self._turn % ROUND
        in_turn = blocks[len(blocks) * turn // ROUND : len(blocks) * (turn + 1) // ROUND]
        due = {block for block, digest in found.items() if self._has_changed(block, digest)}.union(in_turn)
        return [list(run) for is_due, run in groupby(blocks, due.__contains__) if is_due]

    def _has_changed(self, block: int, digest: bytes) -> bool:
        known = self._blocks.get(block)
        return known is None or known.digest != digest or digest == UNKNOWN


def _block(digest: bytes, rows: Iterable[Mapping[str, Any]], before: _Block | None) -> _Block:
    known = {stop.strategy_id: stop for stop in before.stops} if before else {}
    stops: list[Stop] = []
    unarmed: list[Unarmed] = []
    for row in rows:
        try:
            stop = _stop(row)
        except (ArithmeticError, TypeError, ValueError) as exc:  # one row's trouble is not the others'
            unarmed.append(Unarmed(row["id"], row["user_id"], row["account_id"], str(exc)))
        else:
            same = known.get(stop.strategy_id, stop)
            stops.append(same if same == stop else stop)
    return _Block(digest, stops, unarmed)


def _rows(active: QuerySet[Strategy], run: Sequence[int]) -> list[dict[str, Any]]:
    """Read a run of blocks at once; one with a price that cannot be read, without prices: each is then read alone."""
    rows = active.filter(pk__range=(run[0] * BLOCK, (run[-1] + 1) * BLOCK - 1))
    try:
        return list(rows.values(*_COLUMNS, *_PRICES))
    except (ArithmeticError, TypeError, ValueError):
        if len(run) == 1:
            return list(rows.values(*_COLUMNS))
        half = len(run) // 2
        return _rows(active, run[:half]) + _rows(active, run[half:])


def _stop(row: Mapping[str, Any]) -> Stop:
    position, quantity = row["position"], row["quantity"]
    if position not in ("BOUGHT", "SOLD"):
        raise ValueError(f"its position is {position!r}, neither BOUGHT nor SOLD")
    if not isinstance(quantity, int) or quantity <= 0:
        raise ValueError(f"its quantity is {quantity!r}")
    _check_contract(row)
    stop = row["stop_loss"] if "stop_loss" in row else _stop_loss(row["id"])
    if stop is None:
        raise ValueError("it has no stop-loss")
    rule = FixedStop(to_units(stop), position == "BOUGHT")
    symbol = sys.intern(canonical(row["instrument__exchange"], row["instrument__tradingsymbol"]))
    user_id, account_id = _same(row["user_id"]), _same(row["account_id"])
    return Stop(row["id"], row["epoch"], user_id, symbol, rule, _same(quantity), account_id=account_id)


def _check_contract(row: Mapping[str, Any]) -> None:
    """Refuse a row whose instrument is not what it was: tokens and names are given to others after expiry."""
    name = canonical(row["instrument__exchange"], row["instrument__tradingsymbol"])
    if not row["instrument__token"]:
        raise ValueError(f"{name} is no longer in the broker's instrument list")
    if not row["contract"] or "instrument__strike" not in row:
        return
    listed = contract_text(
        row["instrument__instrument_type"], row["instrument__expiry"], row["instrument__strike"]
    )
    if listed != row["contract"]:
        raise ValueError(
            f"{name} is another contract now ({listed}) than when it was started ({row['contract']})"
        )


def _stop_loss(strategy_id: int) -> Decimal | None:
    try:
        return Strategy.objects.values_list("stop_loss", flat=True).get(pk=strategy_id)
    except (ArithmeticError, TypeError, ValueError) as exc:
        raise ValueError(f"its stop-loss cannot be read ({exc})") from exc
