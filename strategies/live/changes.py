"""What is different between two looks at a user's page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from strategies.live.prices import Known
from strategies.live.state import Row, State


def snapshot(state: State, prices: Mapping[str, Known]) -> dict[str, Iterable[Row]]:
    """Return all rows, with the last known price and its time beside each instrument; long lists last."""
    return {
        "exits": state.exits,
        "listeners": state.listeners,
        "events": state.events,
        "alerts": state.alerts,
        "strategies": (_priced(row, prices) for row in state.strategies),
        "watch": (_priced(row, prices) for row in state.watch),
    }


def is_same_set(before: State, after: State) -> bool:
    """Tell whether no row came or went but exits, which only ever come; alerts change their order too.

    The score sums up all rows: where it is another one, the whole page is told.
    """
    is_summed_up = before.alerts == after.alerts and before.score == after.score
    return is_summed_up and _ids(before) == _ids(after)


def changed_rows(before: State, after: State) -> list[tuple[str, Row]]:
    """Return the rows that are new or different, each with its message type."""
    groups = (
        ("strategy", before.strategies, after.strategies),
        ("exit", before.exits, after.exits),
        ("listener", before.listeners, after.listeners),
    )
    return [(kind, row) for kind, old, new in groups for row in _different(old, new)]


def new_events(before: State, after: State) -> list[Row]:
    """Return the events that were not there before, oldest first."""
    known = {row["id"] for row in before.events}
    return [row for row in reversed(after.events) if row["id"] not in known]


def _different(old: list[Row], new: list[Row]) -> list[Row]:
    known = {row["id"]: row for row in old}
    return [row for row in new if known.get(row["id"]) != row]


def _ids(state: State) -> list[set[int]]:
    return [{row["id"] for row in rows} for rows in (state.strategies, state.watch, state.listeners)]


def _priced(row: Row, prices: Mapping[str, Known]) -> Row:
    ltp, at = prices.get(row["symbol"], (None, None))
    return {**row, "ltp": ltp, "ltp_at": at}
