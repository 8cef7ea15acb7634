"""What a refused order's text says is wrong. The words are the brokers': each has a table of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping

from marketdata.domain.orders import OrderStatus, RejectReason


class Refusals:
    """One broker's table: the first reason whose words are in a text."""

    def __init__(self, words: Mapping[RejectReason, str]) -> None:
        """Take for each reason a regular expression, whatever the case of the text's letters."""
        self._words = {reason: re.compile(pattern, re.IGNORECASE) for reason, pattern in words.items()}

    def reason(self, text: str) -> RejectReason:
        """Return the reason; OTHER for a text that is not known."""
        known = (reason for reason, pattern in self._words.items() if pattern.search(text))
        return next(known, RejectReason.OTHER)

    def of_order(self, status: OrderStatus, text: str) -> RejectReason | None:
        """Return why an order of the book was refused, or taken out by the exchange; None: it was not."""
        if status is OrderStatus.REJECTED:
            return self.reason(text)
        by_band = status is OrderStatus.CANCELLED and self.reason(text) is RejectReason.BAND
        return RejectReason.BAND if by_band else None
