from __future__ import annotations

from typing import Any

from strategies.live.banners import banners


def account(name: str, *, simulated: bool = False, paper: bool = False) -> dict[str, Any]:
    return {"name": name, "simulated": simulated, "paper": paper}


def test_where_nothing_is_real_the_whole_page_says_so(settings: Any) -> None:
    settings.LIVE_TRADING = False
    assert banners([account("A", simulated=True), account("B", simulated=True)]) == [
        "Simulator: prices and orders are made up on this machine. No money moves."
    ]
    assert banners([]) == []


def test_accounts_that_send_no_order_are_named_beside_those_that_do(settings: Any) -> None:
    settings.LIVE_TRADING = True
    said = banners([account("Sim", simulated=True), account("Desk", paper=True), account("Real")])
    assert said[0].startswith("Simulator: prices and orders of Sim are made up")
    assert said[1].startswith("Paper: no orders are sent for Desk.")
    assert banners([account("Real")]) == []

    settings.LIVE_TRADING = False
    assert banners([account("Real"), account("Too")])[0].startswith(
        "Orders are off: LIVE_TRADING is not set."
    )
