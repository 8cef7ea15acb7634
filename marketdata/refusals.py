"""What a refused order's text says is wrong.

Most texts come from the exchanges, the depositories and the risk system behind every broker; a
broker adds what only it says. There is no list of them: these were seen in reports and in
brokers' own articles. What is not recognised waits for a person.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from marketdata.domain.orders import OrderStatus, RejectReason

COMMON: Mapping[RejectReason, str] = {
    # "Market orders without market protection are not allowed", "blocked ... due to illiquidity"
    RejectReason.NO_MARKET: r"market protection|illiquid|lack of liquidity|no trades|"
    r"market orders? (?:is|are) (?:not allowed|blocked)|only limit orders",
    RejectReason.FREEZE: r"freeze|order quantity (?:exceeds|is greater)",
    RejectReason.TICK: r"tick size",
    RejectReason.LOT: r"lot size|multiples? of",
    # "17070 : The Price is out of the current execution range"; for the limit price protection
    # too the text may say "circuit limits". "LPP" stands in the exchanges' cancellations.
    RejectReason.BAND: r"price band|circuit|price range|execution range|daily range|\blpp\b|"
    r"price protection|reasonability|out of (?:the )?range",
    RejectReason.AUTHORISATION: r"tpin|\be-?dis\b|cdsl|ddpi|authori[sz].*holding|holding.*authori[sz]",
    RejectReason.HOLDINGS: r"holding|btst|\bt1\b|demat",
    RejectReason.MARGIN: r"margin|mtom exceeds|insufficient (?:funds|balance)",
    RejectReason.BAN: r"\b(?:ban|banned)\b|suspend|halt|trade[ -](?:to|for)[ -]trade|\bt2t\b|"
    r"not allowed to trade|blocked for|restricted|not been opened|current instrument state",
}
"""By reason, in the order of asking: a regular expression of the words that tell it."""


class Refusals:
    """One broker's table: the first reason whose words are in a text."""

    def __init__(self, own: Mapping[RejectReason, str] | None = None) -> None:
        """Take what only this broker says, asked after what is common; the letters' case is nothing."""
        words = [*COMMON.items(), *(own or {}).items()]
        self._words = {reason: re.compile(pattern, re.IGNORECASE) for reason, pattern in words}

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
