from __future__ import annotations

from typing import Any

from strategies.live.score import score_of


def strategy(pk: int, **fields: Any) -> dict[str, Any]:
    row = {
        "id": pk, "title": f"S{pk}", "symbol": "NSE:INFY", "status": "active", "armed": True, "unwatched": "",
        "tone": "good", "state": "Armed", "detail": "",
    }  # fmt: skip
    return {**row, **fields}


def listener(**fields: Any) -> dict[str, Any]:
    row = {
        "name": "Desk", "running": True, "connected": True, "logged_in": True, "state": "Connected",
        "login": "Logged in until 06:00 IST",
    }  # fmt: skip
    return {**row, **fields}


def test_every_armed_stop_that_is_watched_counts() -> None:
    draft = strategy(3, status="draft", armed=False, tone="quiet")
    score = score_of([strategy(1), strategy(2), draft], [listener()])

    assert (score["text"], score["tone"]) == ("2 of 2 stops armed and watched", "good")
    assert score["feeds"] == [{"text": "Desk ok, logged in until 06:00 IST", "ok": True}]
    assert score["missing"] == []


def test_one_that_is_not_watched_makes_it_red_and_says_why() -> None:
    score = score_of(
        [strategy(1), strategy(2, unwatched="prices have stopped coming", tone="bad")], [listener()]
    )

    assert (score["text"], score["tone"]) == ("1 of 2 stops armed and watched", "bad")
    assert score["missing"] == [{"strategy": 2, "title": "S2", "reason": "prices have stopped coming"}]


def test_an_exit_that_needs_a_person_stands_first_and_long_lists_are_cut() -> None:
    stuck = strategy(9, status="exiting", armed=False, tone="bad", detail="The reply was lost")
    score = score_of([*(strategy(pk, unwatched="no feed") for pk in range(6)), stuck], [])

    assert score["text"] == "0 of 6 stops armed and watched, 1 exit needs you"
    assert score["missing"][0] == {"strategy": 9, "title": "S9", "reason": "The reply was lost"}
    assert (len(score["missing"]), score["more"]) == (5, "and 2 more")


def test_stops_that_would_send_no_order_are_counted_and_nothing_armed_is_no_alarm() -> None:
    assert score_of([strategy(1, tone="busy")], [])["no_order"] == "1 would send no order"
    empty = score_of([], [listener(connected=False, logged_in=False, login="Not logged in", running=True)])
    assert (empty["text"], empty["tone"]) == ("No stop is armed", "quiet")
    assert empty["feeds"] == [{"text": "Desk login needed, not logged in", "ok": False}]
