"""Whether an order may be sent at all."""

from __future__ import annotations

from typing import NamedTuple

from django.conf import settings

from marketdata.models import BrokerAccount
from strategies.models import Strategy


class Refusal(NamedTuple):
    """Why no order may be sent. ``is_final``: nor will one ever, as on a paper account."""

    text: str
    is_final: bool


def why_not_trade(strategy: Strategy) -> Refusal | None:
    """Return why no order may be sent for ``strategy``; None when one may.

    Towards a simulator orders always go out. A real broker needs all three switches: one in
    the environment, one on the account, one on the strategy.
    """
    account = strategy.account
    if account.paper:
        return Refusal(f"{account} is a paper account: no order was sent.", is_final=True)
    if account.broker in settings.SIMULATED_BROKERS:
        return None
    off = [
        name
        for name, is_on in (
            ("LIVE_TRADING in the environment", settings.LIVE_TRADING),
            (f"'live' on the account {account}", account.live),
            ("'live' on the strategy", strategy.live),
        )
        if not is_on
    ]
    if not off:
        return None
    return Refusal(f"No order was sent: live trading is off ({', '.join(off)}).", is_final=False)


def mode_of(account: BrokerAccount, strategy: Strategy | None = None) -> str:
    """Return whether money moves, in the word that every notification carries.

    ``LIVE``, ``simulator``, ``paper``, or ``no orders`` while one of the live switches is off.
    """
    if account.paper:
        return "paper"
    if account.broker in settings.SIMULATED_BROKERS:
        return "simulator"
    is_live = settings.LIVE_TRADING and account.live and (strategy is None or strategy.live)
    return "LIVE" if is_live else "no orders"


def mode_unasked() -> str:
    """Return the same word where no account can be asked: money may move, or surely does not."""
    return "maybe LIVE" if settings.LIVE_TRADING else ""
