"""Kite's own SDK, without its reading of times. Importing it is slow, and installs a Twisted reactor."""

from __future__ import annotations

from typing import Any

from kiteconnect import KiteConnect


class Kite(KiteConnect):  # type: ignore[misc]
    """``KiteConnect`` that leaves times as the broker wrote them.

    Its general parser takes 0.1 ms for each, three times for every order of the day, and nothing
    else runs meanwhile: with a hundred orders in the book an exit would wait longer for that than
    for the broker.
    """

    def _format_response(self, data: Any) -> Any:
        return data
