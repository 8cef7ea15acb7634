"""The control API from Python: a small synchronous client, standard library only."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

# The simulator is on this machine: a proxy of the environment has no business in between.
_open = build_opener(ProxyHandler({})).open


class SimulatorError(RuntimeError):
    """The simulator refused a command; the text says why."""


class SimulatorControl:
    """Scripts prices, accounts and faults, and reads what happened.

    Prices are texts or anything whose ``str`` is one (``Decimal``), in rupees. Every command
    raises ``SimulatorError`` when it is refused and ``OSError`` when nobody listens.

    Args:
        url: ``settings.SIMULATOR_CONTROL``, or the ready line's ``control``.
        timeout: Seconds to wait for an answer; a script that is waited for may need more.

    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._timeout = timeout

    def call(self, command: str, **arguments: Any) -> Any:
        """Send any command by its name."""
        request = Request(  # noqa: S310 - the address of our own settings
            f"{self.url}/{command}",
            json.dumps(arguments, default=str).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with _open(request, timeout=self._timeout) as response:
                return json.load(response)
        except HTTPError as exc:
            with exc:
                raise SimulatorError(json.loads(exc.read())["error"]) from None

    # --- Prices -------------------------------------------------------------------------
    def set_price(self, symbol: str, price: object, *, age_s: float = 0.0) -> dict[str, Any]:
        """Print one tick; it carries an exchange time ``age_s`` ago."""
        return dict(self.call("set_price", symbol=symbol, price=str(price), age_s=age_s))

    def play(
        self,
        symbol: str,
        prices: Sequence[object],
        *,
        gap_s: float = 0.0,
        age_s: float = 0.0,
        wait: bool = True,
    ) -> None:
        """Print each price as one tick, ``gap_s`` apart; returns when all are out, unless not to wait."""
        texts = [str(price) for price in prices]
        self.call("play", symbol=symbol, prices=texts, gap_s=gap_s, age_s=age_s, wait=wait)

    def pause(self) -> None:
        """Stop the random walks: only scripted prices from here on."""
        self.set_rate(0)

    def set_rate(self, ticks_per_s: float) -> None:
        """Set how many random ticks print per second, over all watched instruments."""
        self.call("set_rate", ticks_per_s=ticks_per_s)

    def set_book(self, symbol: str, *, bid: object = None, ask: object = None) -> None:
        """Fix best bid and ask; "0": nobody there; None: following the price again."""
        sides = {"bid": bid, "ask": ask}
        self.call("set_book", symbol=symbol, **{k: None if v is None else str(v) for k, v in sides.items()})

    def set_band(self, symbol: str, *, lower: object, upper: object) -> None:
        """Fix the day's price band."""
        self.call("set_band", symbol=symbol, lower=str(lower), upper=str(upper))

    def instrument(self, symbol: str) -> dict[str, Any]:
        """Return last, open, high, low, bid, ask, bands (texts in rupees), tick, lot and more."""
        return dict(self.call("instrument", symbol=symbol))

    # --- Accounts -----------------------------------------------------------------------
    def create_account(self, client_id: str, **credentials: str) -> dict[str, str]:
        """Create an account: ``api_key api_secret access_token redirect_url``, made up when not given."""
        return dict(self.call("create_account", client_id=client_id, **credentials))

    def mint_token(self, client_id: str) -> str:
        """Return a new access token; the one before is dead."""
        return str(self.call("mint_token", client_id=client_id)["access_token"])

    def kill_token(self, client_id: str, *, drop: bool = False, after_s: float = 0.0) -> None:
        """Let the token die, at once or later; with ``drop`` the account's sockets are cut too."""
        self.call("kill_token", client_id=client_id, drop=drop, after_s=after_s)

    def set_position(
        self, client_id: str, symbol: str, product: str, quantity: int, price: object = ""
    ) -> None:
        """Replace a position, short below zero; without a price at the last one."""
        self.call(
            "set_position",
            client_id=client_id,
            symbol=symbol,
            product=product,
            quantity=quantity,
            price=str(price),
        )

    def set_holding(
        self, client_id: str, symbol: str, quantity: int, price: object = "", *, product: str = "CNC"
    ) -> None:
        """Replace a holding of delivered shares: ``CNC``, or ``MTF`` for financed ones."""
        holding = {"symbol": symbol, "quantity": quantity, "price": str(price), "product": product}
        self.call("set_holding", client_id=client_id, **holding)

    def positions(self, client_id: str) -> list[dict[str, Any]]:
        """Return ``symbol product quantity`` of each."""
        return list(self.call("positions", client_id=client_id))

    # --- Orders -------------------------------------------------------------------------
    def place_order(
        self, client_id: str, symbol: str, side: str, quantity: int, product: str, **more: str
    ) -> str:
        """Place an order as from another platform (``price``, ``tag``); return its id."""
        arguments = {"symbol": symbol, "side": side, "quantity": quantity, "product": product, **more}
        return str(self.call("place_order", client_id=client_id, **arguments)["order_id"])

    def cancel_order(self, order_id: str) -> None:
        self.call("cancel_order", order_id=order_id)

    def release(self, order_id: str) -> None:
        """Let an order that ``rest`` or ``partial`` holds meet prices again, and a hidden one be seen."""
        self.call("release", order_id=order_id)

    def execute(self, order_id: str, quantity: int | None = None, price: object = "") -> dict[str, Any]:
        """Fill an order whatever state it is in, a cancelled one too; all of it at the best price unless told."""
        return dict(self.call("execute", order_id=order_id, quantity=quantity, price=str(price)))

    def forge(self, order_id: str, *, held: bool = False) -> str:
        """Book a second order like one that is there, tag and all; return its id."""
        return str(self.call("forge", order_id=order_id, held=held)["order_id"])

    def show_status(self, order_id: str, word: str = "") -> None:
        """Let books show a word of no meaning for an order's status; without one its own again."""
        self.call("show_status", order_id=order_id, word=word)

    def ledger(self, client_id: str | None = None) -> list[dict[str, Any]]:
        """Return every booked order, oldest first.

        Among others ``order_id tag`` (as sent; ``shown_tag`` as books show it) ``symbol side product
        quantity status filled fills received_at`` (UNIX seconds) ``cancelled_by`` (``client``,
        ``platform``, ``exchange`` or "").
        """
        return list(self.call("ledger", client_id=client_id))

    def position_extremes(self, client_id: str) -> list[dict[str, Any]]:
        """Return ``symbol product lowest highest quantity`` of each, net and with holdings, since seeded."""
        return list(self.call("position_extremes", client_id=client_id))

    def order_requests(self, client_id: str) -> dict[str, Any]:
        """Return ``total``, ``most_in_a_second`` and ``requests`` (``operation``, ``at``) of an account."""
        return dict(self.call("order_requests", client_id=client_id))

    def visits(self, client_id: str) -> list[dict[str, Any]]:
        """Return ``operation``, ``at`` and ``until`` (UNIX seconds) of each request an account made."""
        return list(self.call("visits", client_id=client_id))

    def set_matching_delay(self, seconds: float) -> None:
        """Set the time from accepting an order to dealing; 0: before the answer leaves."""
        self.call("set_matching_delay", seconds=seconds)

    # --- Faults -------------------------------------------------------------------------
    def fault(self, name: str, **options: Any) -> dict[str, Any]:
        """Arm a named fault.

        Options: ``account`` (client id), ``broker``, ``operation`` (``place cancel modify orders positions
        quotes profile …``), ``times`` (1 unless told), ``seconds`` (instead of times), and the
        fault's own parameters. See ``faults()``.
        """
        return dict(self.call("fault", name=name, **options))

    def clear_faults(self, name: str | None = None, account: str | None = None) -> None:
        """Disarm faults: of one name, of one account, or all."""
        self.call("clear_faults", name=name, account=account)

    def faults(self) -> dict[str, Any]:
        """Return ``known`` faults with their parameters, and those ``armed``."""
        return dict(self.call("faults"))

    def drop(self, account: str | None = None, **which: str) -> int:
        """Cut feed sockets without a close frame; return how many.

        ``broker`` takes only one broker's; ``role`` another kind of socket (``order_feed``).
        """
        return int(self.call("drop", account=account, **which)["sockets"])

    def close(
        self, account: str | None = None, *, code: int = 1001, reason: str = "going away", **which: str
    ) -> int:
        """Close feed sockets with a close frame; return how many. See ``drop``.

        A code below 1000 is one of the broker's own, and told in its way.
        """
        return int(self.call("close", account=account, code=code, reason=reason, **which)["sockets"])

    def malformed(self, account: str | None = None, *, kind: str = "truncated", **which: str) -> int:
        """Send one malformed frame (``truncated unknown garbage``); return to how many sockets."""
        return int(self.call("malformed", account=account, kind=kind, **which)["sockets"])

    def error_text(self, message: str, account: str | None = None, **which: str) -> int:
        """Send an error text on feed sockets; return to how many."""
        return int(self.call("error_text", message=message, account=account, **which)["sockets"])

    def set_variant(self, name: str, value: str | int | bool) -> None:
        """Choose how a surface behaves where its broker does so in several ways; see ``variants``."""
        self.call("set_variant", name=name, value=value)

    def variants(self) -> dict[str, str | int | bool]:
        """Return the variants there are, ``broker.what``, with their present values."""
        return dict(self.call("variants"))

    def enforce_limits(self, *, on: bool = True, **caps: int) -> None:
        """Refuse requests above the broker's documented rates, or stop doing so.

        ``per_second``, ``per_minute`` and ``per_day`` put other limits in the place of the broker's
        for orders.
        """
        self.call("enforce_limits", on=on, **caps)

    # --- What is going on ---------------------------------------------------------------
    def subscriptions(self, client_id: str | None = None) -> dict[str, Any]:
        """Return symbol -> mode of one account, or client id -> symbol -> mode."""
        found = dict(self.call("subscriptions"))
        return found if client_id is None else dict(found.get(client_id, {}))

    def connections(self, role: str = "feed") -> dict[str, int]:
        """Return client id -> open feed sockets, or those of another role."""
        return dict(self.call("connections", role=role))

    def counters(self) -> dict[str, int]:
        """Return ``handshakes.accepted``, ``handshakes.refused``, ``requests.<operation>``, ``ticks``."""
        return dict(self.call("counters"))

    def state(self) -> dict[str, Any]:
        """Return seed, rate, time, and the numbers of instruments and orders."""
        return dict(self.call("state"))
