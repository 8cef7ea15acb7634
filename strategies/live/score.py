"""The protection score, first on the page: how many stops are really watched, which are not, and why.

Counted from rows that ``strategies.protection`` has judged. A browser adds what only it can know: how
old the oldest price is, and whether it still hears from the server.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from strategies.live.words import BAD, BUSY, GOOD, QUIET

Row = dict[str, Any]
_NAMED = 5


def score_of(strategies: Iterable[Row], listeners: Iterable[Row]) -> Row:
    """Return the score of one page's rows."""
    rows = list(strategies)
    armed = [row for row in rows if row["armed"]]
    missing = [(row, row["unwatched"]) for row in armed if row["unwatched"]]
    stuck = [(row, row["detail"] or row["state"]) for row in rows if _is_stuck(row)]
    troubles = [*stuck, *missing]
    silent = sum(row["tone"] == BUSY for row in armed)
    return {
        "tone": BAD if troubles else GOOD if armed else QUIET,
        "text": _text(len(armed), len(missing), len(stuck)),
        "no_order": f"{silent} would send no order" if silent else "",
        "feeds": [_feed(row) for row in listeners if row["running"] or not row["logged_in"]],
        "missing": [_missing(row, reason) for row, reason in troubles[:_NAMED]],
        "more": f"and {len(troubles) - _NAMED} more" if len(troubles) > _NAMED else "",
    }


def _is_stuck(row: Row) -> bool:
    return bool(row["status"] == "exiting" and row["tone"] == BAD)


def _text(armed: int, missing: int, stuck: int) -> str:
    stops = "stop" if armed == 1 else "stops"
    watched = f"{armed - missing} of {armed} {stops} armed and watched" if armed else "No stop is armed"
    return f"{watched}, {_exits(stuck)}" if stuck else watched


def _exits(stuck: int) -> str:
    return "1 exit needs you" if stuck == 1 else f"{stuck} exits need you"


def _feed(row: Row) -> Row:
    """Say how an account's feed and login are: ``Desk ok, logged in until 06:00 IST``."""
    is_ok = row["connected"] and row["logged_in"]
    how = "ok" if is_ok else "login needed" if not row["logged_in"] else row["state"].lower()
    login: str = row["login"]
    return {"text": f"{row['name']} {how}, {login[:1].lower()}{login[1:]}", "ok": is_ok}


def _missing(row: Row, reason: str) -> Row:
    return {"strategy": row["id"], "title": row["title"], "reason": reason}
