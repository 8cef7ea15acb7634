"""Positions and holdings put together: nothing guessed, nothing left out, nothing counted twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.domain.orders import PositionSnapshot
from marketdata.portfolio import Held, account_positions
from tests.fakes.contracts import ListedContracts

NSE, BSE, NSE_ONLY = "NSE:INFY", "BSE:INFY", "NSE:ALPHA"
LISTED = ListedContracts({NSE: "1", BSE: "2", NSE_ONLY: "3", "NFO:NIFTY26NOVFUT": "4"})


def net(quantity: int, symbol: str = NSE, product: str = "CNC") -> PositionSnapshot:
    return PositionSnapshot(symbol, product, quantity)


def held(quantity: int, used: int = 0, symbol: str = NSE, isin: str = "I1", product: str = "CNC") -> Held:
    return Held(symbol, product, quantity, used, isin)


def quantities(rows: list[PositionSnapshot], shares: list[Held]) -> dict[tuple[str, str], int]:
    found = account_positions(rows, shares, LISTED)
    result = {(row.symbol, row.product): row.quantity for row in found}
    assert len(result) == len(found)
    return result


@pytest.mark.parametrize(
    ("shares", "used", "today", "left"),
    [
        (10, 0, None, 10),
        (10, 4, -4, 6),  # sold today: shown in both, counted once
        (10, 0, -4, 6),  # the holdings lag behind the position
        (10, 4, None, 6),  # the position lags behind the holdings
        (10, 10, -10, 0),
        (10, 0, 5, 15),  # bought more today
        (0, 0, 5, 5),
        (3, 5, -5, 0),  # never below zero by what cannot be
        (0, 0, -3, 0),  # all pledged
    ],
)
def test_what_was_sold_today_counts_once(shares: int, used: int, today: int | None, left: int) -> None:
    rows = [] if today is None else [net(today, NSE_ONLY)]
    (found,) = account_positions(rows, [held(shares, used, NSE_ONLY)], LISTED)
    assert found == PositionSnapshot(NSE_ONLY, "CNC", left, from_holdings=shares > 0)


@pytest.mark.parametrize("symbol", [NSE, BSE])
def test_shares_stand_under_every_exchange_that_lists_them(symbol: str) -> None:
    assert set(account_positions([], [held(10, symbol=symbol)], LISTED)) == {
        PositionSnapshot(NSE, "CNC", 10, from_holdings=True),
        PositionSnapshot(BSE, "CNC", 10, from_holdings=True),
    }


@pytest.mark.parametrize("sold_on", [NSE, BSE])
@pytest.mark.parametrize("held_as", [NSE, BSE])
def test_a_sale_on_either_exchange_leaves_less_on_both(sold_on: str, held_as: str) -> None:
    found = quantities([net(-4, sold_on)], [held(10, symbol=held_as)])
    assert found == {(NSE, "CNC"): 6, (BSE, "CNC"): 6}


def test_a_sale_where_our_list_does_not_have_the_share_counts_too() -> None:
    assert quantities([net(-4, "BSE:ALPHA")], [held(10, symbol=NSE_ONLY)])[NSE_ONLY, "CNC"] == 6


def test_what_was_bought_today_is_sold_where_it_was_bought() -> None:
    assert quantities([net(5, BSE)], [held(10)]) == {(NSE, "CNC"): 10, (BSE, "CNC"): 15}


def test_two_shares_of_one_name_are_kept_apart() -> None:
    found = quantities([], [held(10, symbol=NSE, isin="I1"), held(3, symbol=BSE, isin="I2")])
    assert found == {(NSE, "CNC"): 10, (BSE, "CNC"): 3}
    unsaid = quantities([], [held(10, symbol=NSE, isin=""), held(3, symbol=BSE, isin="")])
    assert unsaid == found


def test_two_rows_of_one_share_add_up() -> None:
    found = quantities([net(-1)], [held(10, symbol=NSE), held(3, 2, symbol=BSE)])
    assert found == {(NSE, "CNC"): 11, (BSE, "CNC"): 11}


def test_shares_bought_with_margin_are_their_own_row() -> None:
    shares = [held(1, symbol=NSE_ONLY), held(7, symbol=NSE_ONLY, product="MTF")]
    assert quantities([], shares) == {(NSE_ONLY, "CNC"): 1, (NSE_ONLY, "MTF"): 7}


def test_a_holding_of_nothing_is_no_position() -> None:
    assert account_positions([], [held(0), held(0, product="MTF")], LISTED) == []


def test_positions_stand_alone_and_keep_their_sign() -> None:
    rows = [net(-75, "NFO:NIFTY26NOVFUT", "NRML"), net(0, product="MIS")]
    assert account_positions(rows, [], LISTED) == rows


def test_rows_of_one_contract_and_product_add_up() -> None:
    assert account_positions([net(5), net(-2)], [], LISTED) == [net(3)]


@pytest.mark.parametrize("symbol", ["", "NSE:RENAMED", "MSEI:INFY", "rubbish"])
def test_what_cannot_be_named_is_kept_without_a_name(symbol: str) -> None:
    assert account_positions([net(7, symbol)], [], LISTED) == [net(7, "")]
    found = account_positions([], [held(7, symbol=symbol)], LISTED)
    assert found == [PositionSnapshot("", "CNC", 7, from_holdings=True)]


@pytest.mark.parametrize("symbol", ["", "NSE:RENAMED"])
def test_nothing_without_a_name_is_nothing(symbol: str) -> None:
    assert account_positions([net(0, symbol)], [held(4, 4, symbol=symbol)], LISTED) == []


def test_a_plus_and_a_minus_without_a_name_do_not_come_to_nothing() -> None:
    assert account_positions([net(5, ""), net(-5, "")], [], LISTED) == [net(5, ""), net(-5, "")]


symbols = st.sampled_from([NSE, BSE, NSE_ONLY, "NSE:RENAMED", ""])


@given(
    st.lists(st.builds(net, st.integers(-20, 20), symbols)),
    st.lists(
        st.builds(held, st.integers(0, 20), st.integers(0, 20), symbols, st.sampled_from(["", "I1", "I2"]))
    ),
)
def test_nothing_held_is_lost_and_nothing_is_said_twice(
    rows: list[PositionSnapshot], shares: list[Held]
) -> None:
    found = account_positions(rows, shares, LISTED)
    named = [(row.symbol, row.product) for row in found if row.symbol]
    assert len(named) == len(set(named))
    known = {row.symbol for row in found}
    for row in rows:
        if row.quantity and row.symbol not in known:
            assert "" in known
    assert all(row.quantity for row in found if not row.symbol)
