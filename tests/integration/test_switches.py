"""An order towards a real broker needs all three switches; a simulator needs none."""

from __future__ import annotations

from itertools import product

import pytest

from strategies.models import Strategy
from strategies.switches import why_not_trade

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("switches", list(product((False, True), repeat=3)))
def test_only_all_three_let_an_order_out(settings, account, instruments, switches):
    settings.SIMULATED_BROKERS = frozenset()
    settings.LIVE_TRADING, account.live, strategy_live = switches
    strategy = Strategy(
        user=account.user, account=account, instrument=instruments["NSE:INFY"], live=strategy_live
    )
    assert (why_not_trade(strategy) is None) is all(switches)


@pytest.mark.parametrize("paper", [False, True])
def test_a_simulator_needs_no_switch_but_paper_never_sends(settings, account, instruments, paper):
    settings.SIMULATED_BROKERS = frozenset({"zerodha"})
    account.paper = paper
    strategy = Strategy(user=account.user, account=account, instrument=instruments["NSE:INFY"])
    assert (why_not_trade(strategy) is None) is not paper
