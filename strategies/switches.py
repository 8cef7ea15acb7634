"""Whether an order may be sent at all."""

from __future__ import annotations

from django.conf import settings

from strategies.models import Strategy


def why_not_trade(strategy: Strategy) -> str:
    """Return why no order may be sent for ``strategy``; empty when one may.

    Towards a simulator orders always go out. A real broker needs all three switches: one in
    the environment, one on the account, one on the strategy.
    """
    account = strategy.account
    if account.paper:
        return f"{account} is a paper account: no order was sent."
    if account.broker in settings.SIMULATED_BROKERS:
        return ""
    off = [
        name
        for name, is_on in (
            ("LIVE_TRADING in the environment", settings.LIVE_TRADING),
            (f"'live' on the account {account}", account.live),
            ("'live' on the strategy", strategy.live),
        )
        if not is_on
    ]
    return f"No order was sent: live trading is off ({', '.join(off)})." if off else ""
