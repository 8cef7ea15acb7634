"""What the house asks of a broker, and what a broker may ask of the house."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from marketdata.domain.instruments import Contract
from marketdata.domain.orders import (
    OrderLimits,
    OrderRequest,
    OrderSnapshot,
    PositionSnapshot,
    Quote,
    TradeSnapshot,
    WriteResult,
)
from marketdata.domain.ticks import Tick
from marketdata.secret import Secret

if TYPE_CHECKING:
    from marketdata.listener import MarketDataListener


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """One account at one broker, with its credentials revealed to nobody else."""

    account_id: int
    broker: str
    client_id: str
    api_key: str
    api_secret: Secret = field(default_factory=Secret)
    access_token: Secret = field(default_factory=Secret)


class Tokens(Protocol):
    """Symbol <-> broker token, from memory."""

    def token(self, symbol: str) -> str:
        """Return the broker's token; raises ``UnknownInstrument``."""
        ...

    def symbol(self, token: str) -> str | None: ...

    def tick_size(self, symbol: str) -> Decimal | None:
        """Return rupees between two valid prices; None when it is not known."""
        ...


class ContractBook(Tokens, Protocol):
    """Tokens and symbols of many contracts with one look. What is not listed is absent."""

    def listed(self, symbols: Collection[str]) -> Collection[str]:
        """Return those that are in the list, or were minutes ago: lists change once a day."""
        ...

    def tokens_of(self, symbols: Collection[str]) -> Mapping[str, str]: ...

    def symbols_of(self, tokens: Collection[str]) -> Mapping[str, str]: ...


class TickSink(Protocol):
    """A room at the end of the pipeline. Returns at once: no I/O, no waiting."""

    def on_ticks(self, user_id: int, ticks: Sequence[Tick], feed: int = 0) -> None:
        """Take ticks of one user's feed; they concern nobody else's strategies.

        ``feed`` is the account whose feed it is; 0 when they come from outside.
        """
        ...


class OrderWire(Protocol):
    """One open connection for exactly one order write. Never retries, never redirects."""

    def is_open(self) -> bool:
        """Tell whether the broker has not closed it meanwhile, as far as is known here."""
        ...

    def prepare(self, request: OrderRequest) -> None:
        """Look up and encode all that the order needs, and send nothing: it may take its time.

        Raises:
            BrokerError: No such order can be made; nothing was sent, and nothing will be.

        """
        ...

    def send(self, not_after: float) -> WriteResult:
        """Send what was prepared; nothing leaves after ``not_after`` (monotonic seconds)."""
        ...

    def cancel(self, order_id: str) -> WriteResult: ...

    def close(self) -> None: ...


class OrderGateway(Protocol):
    """The order side of one account. Blocking: call it from a worker thread.

    Reads raise ``BrokerError``: a failed read is never an empty answer.
    """

    def open_wire(self) -> OrderWire:
        """Connect (TCP and TLS) without sending a request.

        Raises:
            BrokerUnavailable: Nothing was sent, and nothing will be.

        """
        ...

    def orders(self) -> Sequence[OrderSnapshot]:
        """Return today's whole order book of the account."""
        ...

    def trades(self) -> Sequence[TradeSnapshot]:
        """Return today's fills of the account, of all orders."""
        ...

    def positions(self) -> Sequence[PositionSnapshot]:
        """Return net positions by symbol and product; for deliveries holdings count too."""
        ...

    def quotes(self, symbols: Collection[str]) -> Mapping[str, Quote]:
        """Return quotes by symbol; unknown symbols are absent.

        Where many are asked for, a broker may leave out the book and the day's limits.
        """
        ...

    def account_id(self) -> str:
        """Return the client id the token belongs to; raises ``LoginExpired``."""
        ...


class InstrumentSource(Protocol):
    """Where a broker's instrument list comes from."""

    def contracts(self, lines: Iterable[str], left_out: Counter[str] | None = None) -> Iterable[Contract]:
        """Read the broker's CSV: every row that has a name of ours.

        Args:
            lines: The file.
            left_out: Counts the rows without one, by reason.

        Raises:
            BadReply: Not the list, or damaged: names the line.

        """
        ...

    def download(self, config: BrokerConfig | None) -> str:
        """Return the CSV text. Raises ``BrokerError``."""
        ...


class BrokerAdapter(Protocol):
    """Everything the house needs of one broker.

    Attributes:
        connections: How many feed connections it permits an account at a time.

    """

    listener_class: type[MarketDataListener]
    instruments: InstrumentSource
    instruments_per_connection: int
    connections: int
    order_limits: OrderLimits

    def gateway(self, config: BrokerConfig, contracts: ContractBook) -> OrderGateway: ...


@dataclass(frozen=True, slots=True)
class BrowserLogin:
    """Logging in on the broker's own page, which sends the browser back to our callback.

    Attributes:
        title: What the way is called.
        hint: What a person should know before.
        returns_state: The broker hands back the ``state`` it was given. Where it does not,
            the browser's session alone says whose login it was.

    """

    title: str
    hint: str
    returns_state: bool


@dataclass(frozen=True, slots=True)
class LoginField:
    """One thing to type. It is never stored; ``secret`` keeps it off the screen too."""

    name: str
    label: str
    secret: bool = True
    digits: int = 0  # exactly so many digits; 0: any text


@dataclass(frozen=True, slots=True)
class TypedLogin:
    """Logging in by typing into a form of ours."""

    name: str
    title: str
    hint: str
    fields: Sequence[LoginField]


@dataclass(frozen=True, slots=True)
class Checked:
    """What a broker says of a token that works.

    Attributes:
        client_id: Whose it is.
        expires_at: When it dies at the latest; timezone-aware.

    """

    client_id: str
    expires_at: datetime


class Login(Protocol):
    """How a person logs in at one broker. Blocking; every method raises ``BrokerError``.

    Nothing here is stored: a token is taken only after ``check`` has seen it work.
    """

    browser: BrowserLogin | None
    typed: Sequence[TypedLogin]

    def address(self, config: BrokerConfig, state: str) -> str:
        """Return where the browser goes to log in."""
        ...

    def exchange(self, config: BrokerConfig, answer: Mapping[str, str]) -> Secret:
        """Return the access token for what the callback was called with."""
        ...

    def by_typing(self, config: BrokerConfig, way: str, typed: Mapping[str, str]) -> Secret:
        """Return the access token for what was typed into the form ``way``."""
        ...

    def check(self, config: BrokerConfig, now: datetime) -> Checked:
        """Ask whose the config's token is and how long it lives; raises ``LoginExpired``."""
        ...


class LiveChannel(Protocol):
    """Towards the browsers of one user. Best effort: returns at once, never raises.

    ``kind`` is ``strategy exit listener alert``; the page asks for a snapshot when it missed one.
    """

    def send(self, user_id: int, kind: str, body: Mapping[str, Any]) -> None: ...


class Publisher(Protocol):
    """Redis publications for other programs. Best effort: returns at once, never raises."""

    def publish(self, channel: str, message: Mapping[str, Any]) -> None: ...
