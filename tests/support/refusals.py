"""Refusals that are none: their sender does not know what became of the order."""

from __future__ import annotations

DOUBTS = (
    "Your order request timed out. Please check the order book and try again.",
    "The order could not be confirmed. Try after checking the order book.",
    "Time-out at the exchange",
    "Check the order status before placing another order",
    "Temporarily not available, try after some time",
    "Service unavailable",
    "Price is outside the circuit limit or the exchange did not respond",  # one half would be definite
    "Couldn't connect to the order management system",
    "A network error occurred",
    "Something went wrong",
    "An order with this id is already in progress",
    "Kindly retry",
)
