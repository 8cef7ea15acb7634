"""After an exit has ended its orders are watched to the end of the day.

A broker may fill an order that it had shown as cancelled, and one whose reply was lost may turn
up late. Exits that are still open look for their own orders; here are the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from datetime import date
from functools import partial

from marketdata.domain.errors import BrokerError
from marketdata.domain.orders import OrderSnapshot, Side
from strategies import records
from strategies.accounts import AccountDesk, AccountRead
from strategies.domain.events import Seen
from strategies.domain.exits import OrderState
from strategies.domain.folding import booked, row_of, twins
from strategies.domain.record import Moment, OrderRecord
from strategies.domain.steps import TURNED_S
from strategies.domain.tags import is_ours
from strategies.records import WatchedExit
from strategies.workshop import Workshop

logger = logging.getLogger(__name__)

SOON_S = 1.5
"""How often an account is looked at while an order is missing or an exit has just ended."""

LATER_S = 5.0

SPREAD_S = 1.0
"""Accounts that are due together are looked at over this long: an exit that begins finds the processor free."""


class Watchman:
    """Looks at the order books of accounts whose exits of today have ended.

    Args:
        shop: With the journal and the desks.
        work: Has an ended exit take one step on what was seen.
        owned: Whose exits; None: everybody's.

    """

    def __init__(
        self,
        shop: Workshop,
        work: Callable[[int, int, Seen], None],
        owned: Callable[[], Collection[int] | None],
    ) -> None:
        self._shop = shop
        self._work = work
        self._owned = owned
        self._due: dict[int, float] = {}  # elapsed seconds by account
        self._looking: dict[int, asyncio.Task[None]] = {}
        self._strange: set[str] = set()
        self._warned: dict[int, tuple[date, str]] = {}

    async def run(self) -> None:
        """Look, again and again."""
        while True:
            try:
                await self._shop.precedence.wait()
                await self.look()
            except Exception:
                logger.exception("ended exits could not be watched: trying again")
            await self._shop.clock.sleep(SOON_S)

    async def look(self) -> None:
        """Look at every account that is due."""
        at = self._shop.moment()
        unit = partial(records.watched_accounts, at.today, self._owned(), at.time, TURNED_S)
        accounts = await self._shop.look_db(unit)
        due = [
            one
            for one in accounts
            if one.id not in self._looking and self._due.get(one.id, 0.0) <= at.elapsed
        ]
        for place, account in enumerate(due):
            self._due[account.id] = at.elapsed + (SOON_S if account.is_hot else LATER_S)
            look = self._look_safely(account.id, place * SPREAD_S / len(due))
            self._looking[account.id] = asyncio.create_task(look)

    async def _watched(self, account_id: int) -> list[WatchedExit]:
        today, owned = self._shop.moment().today, self._owned()
        return await self._shop.look_db(partial(records.watched_exits, today, owned, account_id))

    def cancel(self) -> list[asyncio.Task[None]]:
        """Stop looking."""
        return list(self._looking.values())

    async def _look_safely(self, account_id: int, wait_s: float) -> None:
        """Look at one account, a little later; one that hangs or fails holds up no other."""
        try:
            await self._shop.clock.sleep(wait_s)
            await self._shop.precedence.wait()
            exits = await self._watched(account_id)  # those that began meanwhile are no strangers
            await self._look_at(account_id, exits)
        except BrokerError as exc:
            logger.warning("account %s cannot be read to watch ended exits: %s", account_id, exc)
        except Exception:
            logger.exception("ended exits of account %s could not be watched: trying again", account_id)
        finally:
            del self._looking[account_id]

    async def _look_at(self, account_id: int, exits: Collection[WatchedExit]) -> None:
        desk = await self._shop.desk(account_id)
        read = await desk.read(not_before=self._shop.clock.monotonic())
        seen = Seen(
            at=self._shop.moment(),
            began=read.began,
            began_at=read.began_at,
            book=read.orders,
            positions=read.positions,
        )
        for exit_ in exits:
            if exit_.is_final and _is_to_be_worked(exit_, seen):
                self._work(exit_.id, exit_.user_id, seen)
        await self._tell_budget(account_id, desk, seen.at.today)
        await self._tell_strange(account_id, exits, read)

    async def _tell_budget(self, account_id: int, desk: AccountDesk, today: date) -> None:
        """Tell, once a day each, that an account's order requests run short, or are used up for now."""
        news = (today, desk.warning)
        if news[1] and self._warned.get(account_id) != news:
            await self._shop.db(partial(self._shop.journal.budget, account_id, *news))
            self._warned[account_id] = news

    async def _tell_strange(self, account_id: int, exits: Collection[WatchedExit], read: AccountRead) -> None:
        """Tell of orders with a tag of ours that are in no record; an open exit takes in what is still open."""
        known = {order.tag for exit_ in exits for order in exit_.orders}
        open_ones = {exit_.symbol for exit_ in exits if not exit_.is_final}
        for row in _unknown(read.orders, known | self._strange):
            if row.symbol not in open_ones or row.status.is_final:
                self._strange.add(row.tag)
                unit = partial(self._shop.journal.strange_order, account_id, row)
                await self._shop.db(unit)


def _unknown(book: Iterable[OrderSnapshot], known: Collection[str]) -> list[OrderSnapshot]:
    return [row for row in book if is_ours(row.tag) and row.tag not in known]


def _is_to_be_worked(exit_: WatchedExit, seen: Seen) -> bool:
    """What is alive after its exit is worked until it has ended: a cancel may have got lost."""
    return _is_open(exit_) or _has_news(exit_, seen) or _has_turned(exit_, seen)


def _has_turned(exit_: WatchedExit, seen: Seen) -> bool:
    """Tell whether a position stands on the other side just after its exit."""
    if not _has_just_ended(exit_, seen.at):
        return False
    left = {(order.product, order.side) for order in exit_.orders if order.filled}
    return any(
        row.symbol == exit_.symbol
        and row.quantity
        and (row.product, Side.BUY if row.quantity > 0 else Side.SELL) in left
        for row in seen.positions
    )


def _has_news(exit_: WatchedExit, seen: Seen) -> bool:
    for order in exit_.orders:
        if order.state in (OrderState.PLANNED, OrderState.VOID):
            continue
        row = row_of(order, seen.book)
        if row and _facts(booked(order, row, seen.at)) != _facts(order):
            return True
    return bool(twins(exit_.orders, seen.book))


def _facts(order: OrderRecord) -> tuple[OrderState, int]:
    return order.state, order.filled


def _has_just_ended(exit_: WatchedExit, at: Moment) -> bool:
    return exit_.is_final and 0 <= at.time - exit_.changed_at <= TURNED_S


def _is_open(exit_: WatchedExit) -> bool:
    return any(order.is_open and order.state is not OrderState.PLANNED for order in exit_.orders)
