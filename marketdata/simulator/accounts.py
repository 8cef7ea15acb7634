"""Accounts: credentials, positions and holdings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from marketdata.domain.orders import Side

# The account that is there from the start, so that a demonstration needs no steps. Public on purpose.
DEMO_CLIENT_ID = "DEMO01"
DEMO_API_KEY = "demokey"
DEMO_API_SECRET = "demosecret"  # noqa: S105
DEMO_ACCESS_TOKEN = "demotoken"  # noqa: S105

INTRADAY = frozenset({"MIS"})
DELIVERY = frozenset({"CNC", "MTF"})


class UnknownAccount(LookupError):
    """No account of that client id."""


@dataclass(slots=True)
class Position:
    """One product of one instrument. Values are units times quantity."""

    symbol: str
    product: str
    carried: int = 0
    carried_price: int = 0
    bought: int = 0
    bought_value: int = 0
    sold: int = 0
    sold_value: int = 0
    average: int = 0

    @property
    def quantity(self) -> int:
        return self.carried + self.bought - self.sold

    def take(self, side: Side, quantity: int, price: int) -> None:
        """Book one fill."""
        before, signed = self.quantity, quantity if side is Side.BUY else -quantity
        self.average = _average(before, self.average, signed, price)
        if side is Side.BUY:
            self.bought += quantity
            self.bought_value += quantity * price
        else:
            self.sold += quantity
            self.sold_value += quantity * price


def _average(before: int, average: int, signed: int, price: int) -> int:
    """Return the average price of what is open after a fill."""
    after = before + signed
    if not after:
        return 0
    if before * signed >= 0:  # opened or added to
        return (abs(before) * average + abs(signed) * price) // abs(after)
    return average if before * after > 0 else price  # reduced, or turned round


@dataclass(slots=True)
class Holding:
    """Shares delivered earlier, paid for (CNC) or financed (MTF). ``used`` of them were sold today."""

    symbol: str
    product: str
    quantity: int
    average: int
    used: int = 0


@dataclass(slots=True)
class Account:
    """One client. An empty access token is a dead one.

    Attributes:
        extremes: Lowest and highest net quantity by symbol and product, holdings counted in,
            since it was seeded.

    """

    client_id: str
    api_key: str
    api_secret: str
    access_token: str
    redirect_url: str = ""
    request_tokens: set[str] = field(default_factory=set)
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    holdings: dict[tuple[str, str], Holding] = field(default_factory=dict)
    extremes: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)

    def position(self, symbol: str, product: str) -> Position:
        """Return the position, made when it is the first of its kind."""
        return self.positions.setdefault((symbol, product), Position(symbol, product))

    def book(self, symbol: str, product: str, side: Side, quantity: int, price: int) -> None:
        """Book one fill into the position and, for delivered shares, the holding."""
        position = self.position(symbol, product)
        position.take(side, quantity, price)
        holding = self.holdings.get((symbol, product))
        if holding is not None:
            holding.used = max(0, -position.quantity)
        self._note(symbol, product)

    def _note(self, symbol: str, product: str, *, afresh: bool = False) -> None:
        net = self.sellable(symbol, product)
        low, high = (net, net) if afresh else self.extremes.get((symbol, product), (0, 0))
        self.extremes[symbol, product] = min(low, net), max(high, net)

    def sellable(self, symbol: str, product: str) -> int:
        """Return how many delivered shares may be sold: the holding and what was bought today."""
        holding = self.holdings.get((symbol, product))
        return (holding.quantity if holding else 0) + self.position(symbol, product).quantity

    def seed_holding(self, symbol: str, product: str, quantity: int, price: int) -> None:
        """Replace a holding; raises ``ValueError`` for a product that is not delivered."""
        if product not in DELIVERY:
            raise ValueError(
                f"product {product!r} is not held over night: use {' or '.join(sorted(DELIVERY))}"
            )
        self.holdings[symbol, product] = Holding(symbol, product, quantity, price)
        self._note(symbol, product, afresh=True)

    def seed_position(self, symbol: str, product: str, quantity: int, price: int) -> None:
        """Replace a position: intraday and delivery ones as opened today, others as carried."""
        position = Position(symbol, product)
        if product in INTRADAY | DELIVERY:
            position.take(Side.BUY if quantity > 0 else Side.SELL, abs(quantity), price)
        else:
            position.carried, position.carried_price = quantity, price
        position.average = price if quantity else 0
        self.positions[symbol, product] = position
        self._note(symbol, product, afresh=True)


class Accounts:
    """Who may come in, and with what."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._issued = 0
        self._by_id: dict[str, Account] = {}

    def __iter__(self) -> Iterator[Account]:
        return iter(self._by_id.values())

    def create(
        self,
        client_id: str,
        api_key: str = "",
        api_secret: str = "",
        access_token: str = "",
        redirect_url: str = "",
    ) -> Account:
        """Create an account or replace the credentials of one; what is not given is made up."""
        account = Account(
            client_id,
            api_key or self.made_up("key", client_id)[:16],
            api_secret or self.made_up("secret", client_id),
            access_token or self.made_up("token", client_id),
            redirect_url,
        )
        if known := self._by_id.get(client_id):
            account.positions, account.holdings = known.positions, known.holdings
            account.extremes = known.extremes
        self._by_id[client_id] = account
        return account

    def get(self, client_id: str) -> Account:
        """Return an account.

        Raises:
            UnknownAccount: Never created.

        """
        try:
            return self._by_id[client_id]
        except KeyError:
            known = ", ".join(self._by_id) or "none"
            raise UnknownAccount(f"no account {client_id!r} (there are: {known}): create it first") from None

    def authenticated(self, api_key: str, access_token: str) -> Account | None:
        """Return the account whose living token this is."""
        return next(
            (
                a
                for a in self._by_id.values()
                if access_token and (a.api_key, a.access_token) == (api_key, access_token)
            ),
            None,
        )

    def by_api_key(self, api_key: str) -> Account | None:
        return next((a for a in self._by_id.values() if a.api_key == api_key), None)

    def mint(self, client_id: str) -> str:
        """Return a new access token; the one before is dead."""
        account = self.get(client_id)
        account.access_token = self.made_up("token", client_id)
        return account.access_token

    def kill(self, client_id: str) -> None:
        """End the session: the token is dead until a new one is made."""
        self.get(client_id).access_token = ""

    def request_token(self, client_id: str) -> str:
        """Return a token for one exchange into a session."""
        token = self.made_up("request", client_id)
        self.get(client_id).request_tokens.add(token)
        return token

    def made_up(self, purpose: str, client_id: str) -> str:
        """Return the next made-up credential: a seed gives the same ones in every run."""
        self._issued += 1
        text = f"{self._seed}:{purpose}:{client_id}:{self._issued}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]
