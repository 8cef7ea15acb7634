"""What can happen to an exit, and what it can ask for.

Every command brings about one event: its outcome. The worker passes them on and
decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from marketdata.domain.orders import OrderSnapshot, PositionSnapshot, Quote, TradeSnapshot, WriteResult
from strategies.domain.planning import OwnOrder
from strategies.domain.record import NOTHING, Moment, OrderRecord

# --- What happens -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Woken:
    """Look what there is to do."""

    at: Moment


@dataclass(frozen=True, slots=True)
class TurnGiven:
    """The account's budget allows one more order request soon."""

    at: Moment


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What else bears on a new order, read together with the account.

    Attributes:
        own: Our orders on the account that the positions just read may not include.
        tags: Every tag of ours of today, and ``order_ids`` the broker's names of them: what is
            not among them is somebody else's order.
        refusal: Why no order may be sent for this strategy; empty when one may.
        is_refusal_final: Nor will one ever be, as on a paper account.
        new_tag: For the order to be planned.
        openings: By symbol and product of our orders of today, the position without the day's fills:
            the largest that one of them was planned from.

    """

    own: Sequence[OwnOrder] = ()
    tags: Collection[str] = ()
    order_ids: Collection[str] = ()
    refusal: str = ""
    is_refusal_final: bool = False
    new_tag: str = ""
    openings: Mapping[tuple[str, str], int] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Seen:
    """The account was read.

    Attributes:
        began: Elapsed time at which the read began; ``began_at`` the same in UNIX seconds.
        trades: None when they were not asked for.
        heard: Latest order updates that the broker pushed today, by its order id.
        known: Our orders of today as the journal has them; only with ``trades``.
        around: None when the read was not for planning.
        quote: None when it was not asked for or not to be had.
        is_trading: Whether the exchange takes orders now.
        orders_left: Order requests left today; ``spare_orders`` of them beyond those kept for exits'
            first orders.

    """

    at: Moment
    began: float
    began_at: float
    book: Sequence[OrderSnapshot]
    positions: Sequence[PositionSnapshot]
    trades: Sequence[TradeSnapshot] | None = None
    heard: Mapping[str, OrderSnapshot] = field(default_factory=lambda: NOTHING)
    known: Sequence[OrderRecord] = ()
    around: Circumstances | None = None
    quote: Quote | None = None
    is_trading: bool = True
    orders_left: int = 1
    spare_orders: int = 1


@dataclass(frozen=True, slots=True)
class Unread:
    """The account could not be read, or not yet: nothing is known. ``since``: elapsed time of the request."""

    at: Moment
    why: str
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Unopened:
    """No connection could be opened for an order, or it could not be encoded: nothing was sent."""

    at: Moment
    tag: str
    why: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A connection for the one write of this order is open, and the order is encoded."""

    at: Moment
    tag: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """An order is on its way and its reply takes long."""

    at: Moment


@dataclass(frozen=True, slots=True)
class Written:
    """The one place request of an order ended like this."""

    at: Moment
    tag: str
    result: WriteResult


@dataclass(frozen=True, slots=True)
class CancelAnswered:
    """A cancel request ended somehow; whatever the answer says, the book decides."""

    at: Moment
    tag: str


Event = Woken | TurnGiven | Seen | Unread | Opened | Unopened | Unanswered | Written | CancelAnswered

# --- What is asked for --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TakeTurn:
    """Wait until the account's budget allows an order; the largest loss rate goes first."""

    loss_rate: int


@dataclass(frozen=True, slots=True)
class ReadAccount:
    """Read the account.

    Attributes:
        anew: From now on; otherwise a read at most a second old will do.
        trades: The day's trades as well, and what else may show that the book is stale.
        for_plan: With the circumstances of a new order.
        quote: With a quote of the instrument.

    """

    anew: bool = True
    trades: bool = False
    for_plan: bool = False
    quote: bool = False


@dataclass(frozen=True, slots=True)
class OpenWire:
    """Connect and encode this order; send nothing."""

    tag: str


@dataclass(frozen=True, slots=True)
class SendOrder:
    """Send this order on the open connection, once. Its permit was committed with this step."""

    tag: str


@dataclass(frozen=True, slots=True)
class CancelOrder:
    tag: str
    order_id: str


@dataclass(frozen=True, slots=True)
class Rest:
    """Wait for news, at most so long."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell a person, in the transaction that commits this step."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Note:
    """Write it into the strategy's history, in the transaction that commits this step."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class End:
    """Nothing is left to do. ``is_flat``: the position is known to be gone."""

    is_flat: bool = False
    note: str = ""


Command = TakeTurn | ReadAccount | OpenWire | SendOrder | CancelOrder | Rest | Tell | Note | End
