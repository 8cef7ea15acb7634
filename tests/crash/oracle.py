"""What must be so after every crash, judged by the simulator's ledger and the rows.

I1 the net position never crosses flat; I2 no more is filled than was to be exited; I3 the exit ends
filled, flat, or with a person who was told in time; I4 no tag is on two orders; I5 every order was
permitted by a committed row before it was received.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from marketdata.domain.orders import Side
from strategies.domain.exits import ExitState
from strategies.domain.tags import is_ours
from strategies.models import Alert, AlertDelivery, Exit, ExitOrder
from tests.crash.matrix import Fault

CHANNELS = 2
Order = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when all has come to rest.

    Attributes:
        quantity: What was held, and to be exited.
        ledger: Every order the simulator booked for the account.
        lowest: The lowest net position there was.
        held: The position now.
        up_since: When the last process that came back had taken over.
        alert_s: Within how long of that, and of its own beginning, whatever needs a person is told.
        shown_at: When the broker showed what it had hidden; None: it hid nothing.

    """

    quantity: int
    ledger: Sequence[Order]
    lowest: int
    held: int
    up_since: datetime
    alert_s: float
    shown_at: datetime | None = None
    ours: Sequence[Order] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ours", [order for order in self.ledger if is_ours(order["tag"])])

    @property
    def filled(self) -> int:
        return sum(order["filled"] for order in self.ours)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. ``excess``: more was sold than wanted, in a way that the fault explains."""

    violations: Sequence[str]
    excess: Sequence[str] = ()


def judge(facts: Facts, fault: Fault) -> Verdict:
    """Return what is wrong. Blocks: reads the database."""
    exceeded, others = (
        list(_exceeded(facts)),
        [*_ending(facts), *_tags(facts, fault), *unpermitted(facts.ours)],
    )
    others += [
        f"an opposite order: {order['tag']}" for order in facts.ours if order["side"] != Side.SELL.value
    ]
    if exceeded and (fault.is_brokers or fault.is_residual):
        return Verdict([*others, *_untold_excess()], exceeded)
    return Verdict([*exceeded, *others])


def unpermitted(ours: Sequence[Order]) -> Iterator[str]:
    """Say which orders have no row that permitted them before they were received (I5)."""
    rows = {row.tag: row for row in ExitOrder.objects.all()}
    for order in ours:
        row = rows.get(order["tag"])
        if row is None or row.sent_at is None:
            yield f"I5 order {order['order_id']} ({order['tag']}) has no row that permitted it"
        elif row.sent_at.timestamp() > order["received_at"]:
            yield f"I5 order {order['tag']} was received before its permit"


def _exceeded(facts: Facts) -> Iterator[str]:
    if facts.lowest < 0:
        yield f"I1 the position went to {facts.lowest}"
    if facts.filled > facts.quantity:
        yield f"I2 {facts.filled} filled of {facts.quantity}"


def _tags(facts: Facts, fault: Fault) -> Iterator[str]:
    counted = Counter(order["tag"] for order in facts.ours)
    if not fault.is_brokers:
        yield from (f"I4 tag {tag} is on {n} orders" for tag, n in counted.items() if n > 1)


def _ending(facts: Facts) -> Iterator[str]:
    rows = list(Exit.objects.all())
    if len(rows) != 1:
        yield f"I3 {len(rows)} exits of one breach"
        return
    row, live = rows[0], [order["tag"] for order in facts.ours if order["status"] == "open"]
    if row.state == ExitState.DONE and (facts.held > 0 or live):
        yield f"I3 the exit is done with {facts.held} held and {live} still open"
    if row.state == ExitState.ABORTED and facts.held > 0:
        yield f"I3 the exit was given up with {facts.held} held: {row.concern}"
    if row.state in (ExitState.TRIGGERED, ExitState.WORKING):
        orders = [f"{order.tag} {order.state}" for order in row.orders.all()]
        yield f"I3 the exit has not ended: {row.state}, {orders}"
    if row.state == ExitState.NEEDS_HUMAN and not Alert.objects.filter(exit=row, closed_at=None).exists():
        yield "I3 a person is needed, and there is no alert that says so"
    yield from _late(facts)


def _late(facts: Facts) -> Iterator[str]:
    for alert in Alert.objects.filter(closed_at=None):
        bound = max(alert.created_at, facts.up_since) + timedelta(seconds=facts.alert_s)
        told = list(AlertDelivery.objects.filter(alert=alert, delivered_at__isnull=False))
        times = [row.delivered_at for row in told if row.delivered_at is not None]
        if len(times) < CHANNELS and datetime.now(UTC) <= bound:
            continue  # it has come while the end was looked at, and is not late yet
        if len(times) < CHANNELS:
            yield f"I3 {len(times)} channels were told: {alert.kind}: {alert.text[:80]}"
        elif alert.urgency == Alert.Urgency.URGENT and alert.repeats == 0 and (late := max(times)) > bound:
            yield f"I3 told {(late - bound).total_seconds():.1f} s late: {alert.kind}: {alert.text[:80]}"


def _untold_excess() -> Iterator[str]:
    if not Alert.objects.filter(text__startswith="OVERFILL").exists():
        yield "I3 more was sold than wanted, and nobody was told"
