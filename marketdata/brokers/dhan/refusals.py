"""The texts with which Dhan, its risk system and the exchanges behind it refuse an order.

There is no list of them: these were seen in reports. What is not recognised waits for a person.
"""

from __future__ import annotations

from marketdata.domain.orders import RejectReason
from marketdata.refusals import Refusals

REFUSALS = Refusals(
    {
        RejectReason.NO_MARKET: r"market protection|illiquid|lack of liquidity|no trades|"
        r"market orders? (?:is|are) (?:not allowed|blocked)|only limit orders",
        RejectReason.FREEZE: r"freeze|order quantity (?:exceeds|is greater)",
        RejectReason.TICK: r"tick size",
        RejectReason.LOT: r"lot size|multiples? of",
        RejectReason.BAND: r"price band|circuit|price range|execution range|daily range|\blpp\b|"
        r"price protection|reasonability|out of (?:the )?range",
        # "EDIS" is Dhan's name of the authorisation with a TPIN.
        RejectReason.AUTHORISATION: r"tpin|\be-?dis\b|cdsl|ddpi|authori[sz].*holding|holding.*authori[sz]",
        RejectReason.HOLDINGS: r"holding|btst|\bt1\b|demat",
        RejectReason.MARGIN: r"margin|mtom exceeds|insufficient (?:funds|balance)",
        RejectReason.BAN: r"\b(?:ban|banned)\b|suspend|halt|trade[ -](?:to|for)[ -]trade|\bt2t\b|"
        r"not allowed to trade|blocked for|restricted|not been opened|current instrument state",
        # Seen under the codes for input and order errors, where others stand for them.
        RejectReason.IP: r"\b(?:invalid|static|whitelisted) ip\b|\bip address",
        RejectReason.LOGIN: r"\btoken\b",
    }
)
