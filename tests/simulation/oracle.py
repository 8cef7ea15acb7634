"""What must never happen, judged by the broker's own truth.

I1  our orders never take a position across zero;
I2  an exit's orders never fill, and never can fill, more than the exit asks for;
I3  once all is well, every exit ends within a minute, or a person has been told;
I4  no tag is on two orders;
I5  every order of ours was permitted in the journal before the broker got it.

What no journal could have prevented is counted apart, by its cause: the known residual (every view of
the account stood still beyond the window of absence); its likes, where a broker lies about one order
alone (it conceals just this one, takes what it has refused, or books what was lost on the way after the
window); what a person had sent again once the day was over whose book alone could show it; orders that
it filled after it had called them cancelled; trades that the trader made by hand after our last read.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Q

from marketdata.domain.orders import OrderRequest, OrderStatus
from strategies.domain.exits import ExitState
from strategies.models import Alert, Exit, ExitOrder, Strategy
from tests.simulation.broker import Broker
from tests.simulation.ledger import Fill, TrueOrder
from tests.simulation.log import EventLog

READ_BEFORE_S = 6.0
"""An order is planned from a read that began at most so long before the order leaves."""

REFUSED = "refused and taken all the same"
GIVEN_UP = ("lost", "rejected")
"""An order that the broker took may be in these states only if it was withheld in all that could show it."""

_ROW = """
SELECT o.state, o.exit_id, e.quantity, a.never_resend, e.resumed_at IS NOT NULL,
    (julianday(o.sent_at) - julianday(o.planned_at)) * 86400 FROM strategies_exitorder o
JOIN strategies_exit e ON e.id = o.exit_id JOIN marketdata_brokeraccount a ON a.id = o.account_id
WHERE o.tag = %s"""
_OTHERS = (
    "SELECT tag, state, filled_quantity, broker_order_id FROM strategies_exitorder WHERE account_id = %s"
)


def _given_up(orders: Sequence[TrueOrder], rows: Mapping[str, Any]) -> list[TrueOrder]:
    """Return those that fill, or may, though the journal has given them up."""
    return [o for o in orders if rows[o.true_tag][0] in GIVEN_UP and (o.unfilled or o.filled)]


@dataclass(frozen=True, slots=True)
class Read:
    """One answer of the broker: when it was given, and since when it may be old."""

    at: float
    since: float
    rows: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Sent:
    """One order as it was when it arrived. ``exit_id`` is None for one that nobody permitted."""

    at: float
    exit_id: int | None
    quantity: int
    since: float  # how old what it was planned from may be


class Oracle:
    """Watches every broker and, at the end, the journal."""

    def __init__(self, log: EventLog, brokers: dict[int, Broker]) -> None:
        self._log = log
        self._brokers = brokers
        self.violations: list[str] = []
        self.counted: Counter[str] = Counter()
        self.residual: set[int] = set()
        self.sent: dict[str, Sent] = {}
        self._planned_at = float("inf")  # of the order that arrives: what was read later came too late for it
        self._quantities: dict[int, int] = {}
        self._orders: dict[int, list[TrueOrder]] = {}
        self._account_of = {id(broker): pk for pk, broker in brokers.items()}
        self._reads: dict[int, dict[str, deque[Read]]] = {}
        for pk, broker in brokers.items():
            self._watch(pk, broker)

    def _watch(self, account_id: int, broker: Broker) -> None:
        reads: dict[str, deque[Read]] = {v: deque(maxlen=60) for v in ("orders", "trades", "positions")}
        self._reads[account_id] = reads
        broker.on_read = lambda view, since, rows: reads[view].append(Read(self._now(), since, rows))
        broker.on_place = self._arrived
        broker.ledger.on_fill = lambda fill: self._filled(account_id, fill)

    def violation(self, rule: str, text: str) -> None:
        self.violations.append(f"{rule}: {text}")
        self._log.write(f"VIOLATION {rule}: {text}")

    def _now(self) -> float:
        return self._log._time()

    # --- an order arrives -----------------------------------------------------------------

    def _arrived(self, broker: Broker, request: OrderRequest) -> None:
        account_id = self._account_of[id(broker)]
        if request.tag in self.sent:
            self.violation("I4", f"{request.tag} was sent twice")
        with connection.cursor() as cursor:
            row = cursor.execute(_ROW, [request.tag]).fetchone()
        if row is None or row[0] not in ("sending", "unknown"):  # another owner may have doubted it already
            self.violation("I5", f"{request.tag} arrived while the journal says {row and row[0]}")
        since = self._read_since(account_id)
        exit_id = row[1] if row else None
        self.sent[request.tag] = Sent(self._now(), exit_id, request.quantity, since)
        if row is not None:
            self._planned_at = self._now() - max(row[5] or 0.0, 0.0)
            self._quantities[row[1]] = row[2]
            self._check_exit(broker, request, row[1], row[2], never=row[3] and not row[4], again=bool(row[4]))
        self._check_position(account_id, broker, request)
        self._planned_at = float("inf")

    def _read_since(self, account_id: int) -> float:
        now = self._now()
        recent = [r.since for v in ("orders", "positions") for r in self._reads[account_id][v]
                  if r.at >= now - READ_BEFORE_S]  # fmt: skip
        return min(recent, default=now)

    def _check_exit(
        self, broker: Broker, request: OrderRequest, exit_id: int, quantity: int, *, never: bool, again: bool
    ) -> None:
        """I2 before the fact: what is filled and what may fill, by the broker's truth."""
        earlier = self.orders_of(exit_id)
        possible = sum(o.filled - o.revived + o.unfilled for o in earlier) + request.quantity
        flying = {tag: n for tag, n in broker.ledger.flying.items() if self.sent[tag].exit_id == exit_id}
        possible += sum(order.quantity for order in flying.values())
        if possible <= quantity:
            return
        cause = self._why_concealed(broker, earlier, flying)
        if not cause and again and self._day_is_over(broker, earlier):
            cause = "sent again by a person, its day over"
        if cause:
            self.residual.add(exit_id)
            self.counted[cause] += 1
            if never and cause != REFUSED:  # what was refused is no reply that was lost
                self.violation("never resend", f"{request.tag} was sent though the account forbids it")
            return
        tags = [f"{o.true_tag}:{o.status}:{o.filled}/{o.quantity}" for o in earlier]
        self.violation(
            "I2", f"{request.tag} ({request.quantity}) of exit {exit_id} ({quantity}) beside {tags}"
        )

    def orders_of(self, exit_id: int) -> list[TrueOrder]:
        tags = [tag for tag, sent in self.sent.items() if sent.exit_id == exit_id]
        found = [broker.ledger.by_tag.get(tag) for broker in self._brokers.values() for tag in tags]
        return [order for order in found if order is not None]

    def _why_concealed(self, broker: Broker, earlier: Sequence[TrueOrder], flying: Collection[str]) -> str:
        """Say why nothing could show an order that the journal calls lost; empty: something did."""
        account_id = self._account_of[id(broker)]
        rows = self._journal(account_id)
        lost = _given_up(earlier, rows)
        if not all(rows[tag][0] == "lost" for tag in flying):
            return ""
        if not all(self._was_withheld(account_id, o, rows) for o in lost):
            return ""
        if lost:
            return self._how_withheld(account_id, lost[-1], rows)
        return "booked after the window" if flying else ""

    def _day_is_over(self, broker: Broker, earlier: Sequence[TrueOrder]) -> bool:
        """Tell whether what was given up is of a day whose book nobody can read any more."""
        rows = self._journal(self._account_of[id(broker)])
        lost = _given_up(earlier, rows)
        return bool(lost) and not any(order.order_id in broker.ledger.orders for order in lost)

    def _how_withheld(self, account_id: int, order: TrueOrder, rows: dict[str, Any]) -> str:
        if rows[order.true_tag][0] == "rejected":
            return REFUSED
        books = self._recent(account_id, "orders")
        if all(read.since < order.at for read in books):
            return "residual: every view stood still"
        return "concealed alone"

    def _concealed(self, account_id: int, broker: Broker, tags: Sequence[str]) -> list[str]:
        """Return those that may still fill though the journal, on good evidence, calls them lost."""
        rows = self._journal(account_id)
        lost = [tag for tag in tags if rows.get(tag, [""])[0] in GIVEN_UP]
        ledger = broker.ledger
        return [
            t for t in lost if t in ledger.flying or self._was_withheld(account_id, ledger.by_tag[t], rows)
        ]

    @staticmethod
    def _journal(account_id: int) -> dict[str, Any]:
        with connection.cursor() as cursor:
            return {tag: rest for tag, *rest in cursor.execute(_OTHERS, [account_id]).fetchall()}

    def _recent(self, account_id: int, view: str) -> list[Read]:
        began = self._now() - 10.0
        return [read for read in self._reads[account_id][view] if began <= read.at <= self._planned_at]

    def _was_withheld(self, account_id: int, order: TrueOrder, rows: dict[str, Any]) -> bool:
        books = self._recent(account_id, "orders")
        rows_shown = (row for read in (*books, *self._recent(account_id, "trades")) for row in read.rows)
        if any(row.order_id == order.order_id for row in rows_shown):
            return False
        if self._moved_a_position(account_id, order):
            return False
        return not any(self._betrays(r, rows, order.true_tag) for r in books[-3:-1])

    def _moved_a_position(self, account_id: int, order: TrueOrder) -> bool:
        """Tell whether a fill of it was in the positions that were shown."""
        filled = [at for at, *_ in order.fills]
        return any(
            at <= read.since and order.hidden_fills_until <= read.at
            for read in self._recent(account_id, "positions")
            for at in filled
        )

    def _betrays(self, read: Read, rows: dict[str, Any], tag: str) -> bool:
        """Another order of ours, known to have changed, is shown as it was: the book is seen to be old."""
        shown = {row.order_id: row for row in read.rows}
        for other, (state, filled, order_id) in rows.items():
            if other != tag and order_id and state not in ("sending", "unknown", "lost"):
                row = shown.get(order_id)
                changed = self._changed_at(order_id)
                if (
                    changed is not None
                    and changed < read.since
                    and (row is None or row.filled_quantity < filled)
                ):
                    return True
        return False

    def _changed_at(self, order_id: str) -> float | None:
        for broker in self._brokers.values():
            order = broker.ledger.orders.get(order_id)
            if order is not None and order.fills:
                return order.fills[-1][0]
        return None

    def _check_position(self, account_id: int, broker: Broker, request: OrderRequest) -> None:
        """I1 before the fact: the order fits into what the broker showed when it was planned."""
        ledger, sign = broker.ledger, 1 if request.side == "BUY" else -1
        key, sent = (request.symbol, request.product), self.sent[request.tag]
        alive = [o for o in ledger.live() if o.key == key and o.side == request.side]
        flying = [r for r in ledger.flying.values() if (r.symbol, r.product, r.side) == (*key, request.side)]
        ours = sum(o.unfilled for o in alive if o.true_tag) + sum(r.quantity for r in flying)
        held = -sign * ledger.held.get(key, 0)
        by_hand = self._by_hand(ledger.fills, key, sent.since, sign)
        excess = request.quantity + ours - held - by_hand
        if excess <= 0:
            return
        if excess <= self._filled_unseen(account_id, broker, key, sign):
            self.counted["position excused"] += 1
            return
        tags = [*(o.true_tag for o in alive if o.true_tag), *(r.tag for r in flying)]
        if concealed := self._concealed(account_id, broker, tags):
            self.residual.update({self.sent[tag].exit_id or 0 for tag in concealed})
        if concealed or self._is_excused(sent.exit_id, alive):
            self.counted["position excused"] += 1
            return
        self.violation("I1", f"{request.tag}: {request.side} {request.quantity} {key} beside {ours} of ours alive, "
                             f"held {held}, {by_hand} traded by hand since the read")  # fmt: skip

    def _filled_unseen(self, account_id: int, broker: Broker, key: tuple[str, str], sign: int) -> int:
        """Return the fills of orders that the journal gave up, as long as no view of the account has shown them."""
        rows = self._journal(account_id)
        return sum(
            order.filled
            for tag, order in broker.ledger.by_tag.items()
            if (order.key, order.sign) == (key, sign)
            and rows.get(tag, [""])[0] in GIVEN_UP
            and self._was_withheld(account_id, order, rows)
        )

    def _is_excused(self, exit_id: int | None, alive: Sequence[TrueOrder]) -> bool:
        """An order that was concealed, or revived, has taken the room meanwhile."""
        concealed = any(
            self.sent[o.true_tag].exit_id in self.residual for o in alive if o.true_tag in self.sent
        )
        revived = any(fill.order.revived for broker in self._brokers.values() for fill in broker.ledger.fills)
        return exit_id in self.residual or concealed or revived

    @staticmethod
    def _by_hand(fills: Sequence[Fill], key: tuple[str, str], since: float, sign: int) -> int:
        return sum(
            f.quantity
            for f in fills
            if not f.order.true_tag and f.order.key == key and f.at >= since and f.order.sign == sign
        )

    # --- an order fills -------------------------------------------------------------------

    def _filled(self, account_id: int, fill: Fill) -> None:
        order = fill.order
        if not order.true_tag:
            return
        sent = self.sent[order.true_tag]
        if sent.exit_id is not None:
            self._check_filled(sent.exit_id)
        crossed = min(fill.quantity, max(0, order.sign * fill.after))
        if not crossed:
            return
        ledger = self._brokers[account_id].ledger
        beside = [o for o in ledger.by_tag.values() if o.key == order.key]
        unseen = self._filled_unseen(account_id, self._brokers[account_id], order.key, order.sign)
        if order.revived or self._is_excused(sent.exit_id, beside) or crossed <= unseen:
            self.counted["crossed: after one of these, or revived"] += 1
        elif crossed <= self._by_hand(ledger.fills, order.key, sent.since, order.sign):
            self.counted["crossed: the trader's own trade"] += 1
        else:
            self.violation("I1", f"{order.true_tag} took {order.key} from {fill.before} to {fill.after}")

    def _check_filled(self, exit_id: int) -> None:
        orders = self.orders_of(exit_id)
        filled = sum(o.filled for o in orders)
        if filled <= self._quantities[exit_id]:
            return
        if exit_id in self.residual:
            self.counted["overfilled: after one of these"] += 1
        elif filled - sum(o.revived for o in orders) <= self._quantities[exit_id]:
            self.counted["overfilled: revived by the broker"] += 1
        else:
            self.violation("I2", f"exit {exit_id}: {filled} of {self._quantities[exit_id]} filled")

    # --- the end --------------------------------------------------------------------------

    def finish(self, *, is_live: bool, breached: Sequence[int]) -> None:
        """Judge the journal when the session ends; ``breached`` are strategies whose price is past the stop."""
        exits = list(Exit.objects.select_related("strategy").order_by("id"))
        self.counted["episodes"] += len(exits)
        for row in exits:
            self._check_end(row)
            if is_live:
                self._check_liveness(row)
        if is_live:
            self._check_books()
            missed = Strategy.objects.filter(pk__in=breached, status=Strategy.Status.ACTIVE)
            for strategy in missed.order_by("pk"):
                self.violation("I3", f"the stop of strategy {strategy.pk} was touched and nothing happened")

    def _check_end(self, row: Exit) -> None:
        """Nothing is called over that is not."""
        orders = self.orders_of(row.pk)
        filled, state = sum(o.filled for o in orders), ExitState(row.state)
        if state is ExitState.DONE and filled < row.quantity and not self._was_flat(row):
            self.violation(
                "I3", f"exit {row.pk} is done with {filled} of {row.quantity} and the position open"
            )
        if state is ExitState.ABORTED and not row.concern.startswith("Ended by") and not self._was_flat(row):
            self.violation("I3", f"exit {row.pk} was aborted and the position is open ({row.concern})")

    def _was_flat(self, row: Exit) -> bool:
        """Tell whether the position was ever seen at nothing, or on the other side."""
        ledger, strategy = self._brokers[row.strategy.account_id].ledger, row.strategy
        sign = 1 if strategy.position == "BOUGHT" else -1
        symbol = strategy.symbol
        flat = [f for f in ledger.fills if f.order.symbol == symbol and sign * f.after <= 0]
        return bool(flat) or all(sign * q <= 0 for (name, _), q in ledger.held.items() if name == symbol)

    def _check_liveness(self, row: Exit) -> None:
        state = ExitState(row.state)
        alive = [o.true_tag for o in self.orders_of(row.pk) if o.unfilled]
        if state.is_final and alive:
            self.violation("I3", f"exit {row.pk} is {state.value} and {alive} are still at the exchange")
        book = self._brokers[row.strategy.account_id].ledger.orders
        if sum(o.filled for o in self.orders_of(row.pk) if o.order_id in book) > row.quantity:
            self.counted["overfilled and told"] += 1
            if not Alert.objects.filter(
                Q(kind="overfill") | Q(text__startswith="OVERFILL"), exit=row
            ).exists():
                self.violation("told", f"more was filled than exit {row.pk} asks for, and nobody was told")
        if state.is_final:
            return
        told = Alert.objects.filter(exit=row, kind="needs_human", text=row.concern).exists()
        if state is not ExitState.NEEDS_HUMAN or not told:
            self.violation("I3", f"exit {row.pk} is {state.value}, nobody was told ({row.concern})")
        self.counted["waits for a person"] += 1

    def _check_books(self) -> None:
        """A minute after all is well the journal knows what the broker knows."""
        for row in ExitOrder.objects.order_by("id"):
            ledger = self._brokers[row.account_id].ledger
            order = ledger.by_tag.get(row.tag)
            if order is None or order.order_id not in ledger.orders or order.tag != order.true_tag:
                continue
            if row.filled_quantity != order.filled and row.state != "unknown":
                self.violation(
                    "books", f"{row.tag} filled {order.filled}, the journal says {row.filled_quantity}"
                )
            if order.status is OrderStatus.LIVE and row.state in ("filled", "cancelled", "rejected", "void"):
                self.violation("books", f"{row.tag} is alive, the journal says {row.state}")
