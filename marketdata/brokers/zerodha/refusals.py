"""The texts with which Kite refuses an order: those of the exchanges behind it, and no more."""

from __future__ import annotations

from marketdata.refusals import Refusals

REFUSALS = Refusals()
