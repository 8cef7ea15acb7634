"""Exits worked over a store and a broker in memory: what the journal and the worker do, and no more.

For the stateful test of the exit engine. Several workers may work one exit at once, as if nobody
owned it; every promise that can be checked at once is checked where it would be broken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from marketdata.domain.orders import OrderStatus, Outcome, RejectReason, Side, WriteResult
from strategies.domain.absence import is_stale
from strategies.domain.events import (
    CancelAnswered,
    CancelOrder,
    Circumstances,
    Command,
    End,
    Event,
    Note,
    Opened,
    OpenWire,
    ReadAccount,
    Rest,
    Seen,
    SendOrder,
    TakeTurn,
    Tell,
    TurnGiven,
    Unopened,
    Unread,
    Woken,
    Written,
)
from strategies.domain.exits import EXIT_TRANSITIONS, ORDER_TRANSITIONS, ExitState, OrderState
from strategies.domain.ordering import has_room
from strategies.domain.planning import OwnOrder
from strategies.domain.record import ExitRecord, Memory, Moment, OrderRecord, State
from strategies.domain.steps import step
from tests.support.ledger import Ledger, TrueOrder, View
from tests.support.steps import NOW, SYMBOL, TODAY

SEND_WITHIN_S = 0.5
LOST_REPLY = WriteResult(Outcome.UNKNOWN, message="connection reset")
REFUSALS = {
    "margin": RejectReason.MARGIN, "rate": RejectReason.RATE, "band": RejectReason.BAND,
    "freeze": RejectReason.FREEZE, "login": RejectReason.LOGIN,
}  # fmt: skip
MODES = (
    "fill", "rest", "part", "lose_filled", "lose_resting", "lose_hidden", "lose_hidden_filled", "drop",
    "not_sent", "refuse_booked", "refuse_later", *REFUSALS,
)  # fmt: skip
"""What becomes of a place request."""


class Overtaken(Exception):
    """Somebody else has changed the record, or taken the room."""


@dataclass
class House:
    """One account with its exits."""

    ledger: Ledger
    is_long: bool
    wall: float = NOW
    elapsed: float = 5_000.0
    today: date = TODAY
    exits: dict[int, ExitRecord] = field(default_factory=dict)
    tells: dict[int, list[str]] = field(default_factory=dict)
    sent: dict[str, TrueOrder] = field(default_factory=dict)
    planned_as_of: dict[str, int] = field(default_factory=dict)
    excused: set[int] = field(default_factory=set)
    modes: deque[str] = field(default_factory=deque)
    is_readable: bool = True
    is_reachable: bool = True
    has_token: bool = True
    is_trading: bool = True
    races: bool = False
    _tags: int = 0

    @property
    def side(self) -> Side:
        return Side.SELL if self.is_long else Side.BUY

    def moment(self) -> Moment:
        return Moment(self.wall, self.elapsed, self.today)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.elapsed += seconds

    def new_tag(self) -> str:
        self._tags += 1
        return f"TG{self._tags:016d}"

    def all_orders(self) -> list[OrderRecord]:
        return [order for record in self.exits.values() for order in record.orders]

    # --- the journal --------------------------------------------------------------------

    def commit(
        self, old: ExitRecord, new: ExitRecord, event: Event, commands: tuple[Command, ...]
    ) -> ExitRecord:
        tells = [command.text for command in commands if isinstance(command, Tell)]
        if new == old and not tells:
            return old
        if self.exits[old.id].version != old.version:
            raise Overtaken
        assert new.state in {old.state} | EXIT_TRANSITIONS[old.state]
        for order in new.orders:
            self._check(old, old.order(order.tag), order, event)
        new = replace(new, version=old.version + 1)
        self.exits[new.id] = new
        self.tells[new.id] += tells
        return new

    def _check(self, old: ExitRecord, before: OrderRecord | None, order: OrderRecord, event: Event) -> None:
        if before is None:
            assert all(order.tag != other.tag for other in self.all_orders())
            if order.state is OrderState.PLANNED:
                own = self.own_orders(getattr(event, "began_at", 0.0))
                if not (isinstance(event, Seen) and has_room(order, old, event, own)):
                    raise Overtaken
            return
        assert order.state in {before.state} | ORDER_TRANSITIONS[before.state]
        if order.state is OrderState.LOST is not before.state and before.day == self.today:
            self._check_lost(old, order)
        if order.state is OrderState.REJECTED is not before.state and order.tag in self.sent:
            self.excused.add(old.id)  # refused by word, booked all the same, and no read showed it

    def _check_lost(self, record: ExitRecord, lost: OrderRecord) -> None:
        """Only an order that nothing shows may be given up, and no sign of a stale book be missed."""
        true, view = self.sent.get(lost.tag), self.ledger.view()
        if true is None:
            return
        assert all(row.tag != lost.tag for row in view.book), "given up although the book shows it"
        assert not is_stale(view.book, [o for o in self.all_orders() if o.day == self.today], ())
        self.excused.add(record.id)  # the known residual

    def own_orders(self, read_at: float) -> list[OwnOrder]:
        return [
            OwnOrder(order.tag, SYMBOL, order.product, order.side, unfilled)
            for order in self.all_orders()
            if order.day == self.today and (unfilled := _may_still_fill(order, read_at))
        ]

    # --- the broker ---------------------------------------------------------------------

    def send(self, exit_id: int, order: OrderRecord, permitted: float) -> WriteResult:
        if self.elapsed - permitted > SEND_WITHIN_S:
            return WriteResult(Outcome.NOT_SENT, message="held up")
        mode = self.modes.popleft() if self.modes else "fill"
        mode = mode if self.has_token else "login"
        if mode == "not_sent":
            return WriteResult(Outcome.NOT_SENT, message="refused")
        if mode in REFUSALS:
            return _refusal(REFUSALS[mode])
        if mode == "drop":
            return LOST_REPLY
        return self._arrived(order, mode, exit_id)

    def _arrived(self, order: OrderRecord, mode: str, exit_id: int) -> WriteResult:
        self._check_arrival(order, exit_id)
        true = self.sent[order.tag] = self.ledger.take(order.tag, order.side, order.quantity)
        true.is_hidden = "hidden" in mode
        if mode.endswith(("fill", "filled")):
            self.ledger.fill(true, order.quantity)
        elif mode == "part":
            self.ledger.fill(true, max(order.quantity // 2, 1))
        elif mode == "refuse_later":
            true.status = true.status.REJECTED
        if mode == "refuse_booked":
            return _refusal(RejectReason.RATE)
        return LOST_REPLY if mode.startswith("lose") else WriteResult(Outcome.ACKED, true.order_id)

    def _check_arrival(self, order: OrderRecord, exit_id: int) -> None:
        stored = self.exits[exit_id].order(order.tag)
        assert stored is not None, "I5: an order without a record"
        assert stored.state in (OrderState.SENDING, OrderState.UNKNOWN), "I5: sent without a permit"
        assert order.tag not in self.sent, "I4: one tag, two orders"
        if self.excused or self.planned_as_of[order.tag] != self.ledger.by_others:
            return  # nobody can know what others do between a read and a request
        held = self.ledger.held if self.is_long else -self.ledger.held
        assert order.quantity + self.ledger.live(order.side) <= held, "I1: more than is held"

    def cancel(self, order_id: str) -> None:
        true = self.ledger.orders.get(order_id)
        if true is not None and self.races and true.status is OrderStatus.LIVE:
            self.ledger.fill(true, true.quantity)
        elif self.is_reachable:
            self.ledger.cancel(order_id)


def _may_still_fill(order: OrderRecord, read_at: float) -> int:
    is_news = order.changed_at >= read_at
    if order.state.is_final:
        return order.filled if is_news else 0
    return order.quantity if is_news else max(order.quantity - order.filled, 0)


def _refusal(reason: RejectReason) -> WriteResult:
    return WriteResult(Outcome.REJECTED, "", "in their words", reason.reject_class, reason)


@dataclass
class Worker:
    """Works one exit: one command, one event, one step. Its death loses all but the store."""

    house: House
    exit_id: int
    memory: Memory = field(default_factory=Memory)
    record: ExitRecord = field(init=False)
    todo: Command | None = None
    permitted: float = 0.0
    as_of: int = 0

    def __post_init__(self) -> None:
        self.record = self.house.exits[self.exit_id]

    @property
    def is_over(self) -> bool:
        return isinstance(self.todo, End)

    def advance(self) -> None:
        if not self.is_over:
            self.take(self.do())

    def take(self, event: Event) -> None:
        """Take one step, and commit it."""
        while True:
            after, commands = step(State(self.record, self.memory), event)
            try:
                self._commit(after.record, event, commands)
            except Overtaken:
                self.record, self.todo = self.house.exits[self.exit_id], None
                if isinstance(event, Written):
                    continue  # what is known of an order must not be lost
                return
            self.memory, self.permitted = after.memory, self.house.elapsed
            self.todo = next(c for c in commands if not isinstance(c, Tell | Note))
            return

    def _commit(self, new: ExitRecord, event: Event, commands: tuple[Command, ...]) -> None:
        known = {order.tag for order in self.record.orders}
        self.record = self.house.commit(self.record, new, event, commands)
        for order in new.orders:
            if order.tag not in known:
                self.house.planned_as_of[order.tag] = self.as_of

    def do(self) -> Event:  # noqa: PLR0911 - one case for each command
        """Do what the last step asked for; return how it ended."""
        house, command = self.house, self.todo
        match command:
            case Rest(seconds):
                house.passes(seconds)
            case TakeTurn():
                return TurnGiven(house.moment())
            case ReadAccount():
                return self._read(command)
            case OpenWire(tag) if house.is_reachable:
                return Opened(house.moment(), tag)
            case OpenWire(tag):
                return Unopened(house.moment(), tag, "no route")
            case SendOrder(tag):
                order = self.record.order(tag)
                assert order is not None
                return Written(house.moment(), tag, house.send(self.exit_id, order, self.permitted))
            case CancelOrder(tag, order_id):
                house.cancel(order_id)
                return CancelAnswered(house.moment(), tag)
            case _:
                pass
        return Woken(house.moment())

    def _read(self, wanted: ReadAccount) -> Event:
        house = self.house
        if not (house.is_readable and house.has_token):
            return Unread(house.moment(), "502")
        began, view = house.moment(), house.ledger.view()
        house.passes(0.1)
        return self.seen(began, view, wanted)

    def seen(self, began: Moment, view: View, wanted: ReadAccount) -> Seen:
        house = self.house
        self.as_of = view.as_of
        ours = [order for order in house.all_orders() if order.day == house.today]
        around = Circumstances(
            own=house.own_orders(began.time),
            tags={order.tag for order in ours},
            order_ids={order.broker_order_id for order in ours} - {""},
            new_tag=house.new_tag(),
        )
        return Seen(
            at=house.moment(),
            began=began.elapsed,
            began_at=began.time,
            book=view.book,
            positions=view.positions,
            trades=view.trades if wanted.trades else None,
            known=ours if wanted.trades else (),
            around=around if wanted.for_plan else None,
            is_trading=house.is_trading,
        )


def next_day(house: House) -> None:
    """Let the night pass: what was open is no more, and the book is empty."""
    for true in house.ledger.orders.values():
        house.ledger.cancel(true.order_id)
    house.ledger.end_day()
    house.ledger.by_others += 1
    house.today += timedelta(days=1)
    house.passes(64_800)


def told_of_state(record: ExitRecord) -> bool:
    """Tell whether a person has been told, if one has to be."""
    unknown = [order for order in record.orders if order.state is OrderState.UNKNOWN]
    if record.state.is_final or not unknown:
        return True
    is_named = "OVERFILL" in record.concern or any(order.tag in record.concern for order in unknown)
    return record.state is ExitState.NEEDS_HUMAN and is_named
