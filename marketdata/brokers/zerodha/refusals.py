"""The texts with which Kite, its risk system and the exchanges behind it refuse an order.

There is no list of them: these were seen in reports and in Zerodha's own articles. What is not
recognised waits for a person.
"""

from __future__ import annotations

from marketdata.domain.orders import RejectReason
from marketdata.refusals import Refusals

REFUSALS = Refusals(
    {
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
)
