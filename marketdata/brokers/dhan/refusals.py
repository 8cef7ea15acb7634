"""The texts with which Dhan refuses an order, beside those of the exchanges behind it."""

from __future__ import annotations

from marketdata.domain.orders import RejectReason
from marketdata.refusals import Refusals

REFUSALS = Refusals(
    {
        # Seen under the codes for input and order errors, where others stand for them.
        RejectReason.IP: r"\b(?:invalid|static|whitelisted) ip\b|\bip address",
        RejectReason.LOGIN: r"\btoken\b",
    }
)
