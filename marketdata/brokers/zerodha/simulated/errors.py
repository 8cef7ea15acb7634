"""Errors in Kite's words."""

from __future__ import annotations

from aiohttp import web

from marketdata.simulator.faults import Fault
from marketdata.simulator.limits import PER_DAY


class KiteError(Exception):
    """A refusal: ``{"status": "error", "message", "error_type", "data": null}``."""

    def __init__(self, message: str, error_type: str = "InputException", status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.error_type = error_type
        self.status = status

    def response(self) -> web.Response:
        body = {"status": "error", "message": self.message, "error_type": self.error_type, "data": None}
        return web.json_response(body, status=self.status)


def dead_token() -> KiteError:
    return KiteError("Incorrect `api_key` or `access_token`.", "TokenException", 403)


def missing(field: str) -> KiteError:
    return KiteError(f"Missing or empty field `{field}`")


def invalid(field: str) -> KiteError:
    return KiteError(f"Invalid `{field}`.")


def gateway_error(status: int) -> KiteError:
    """Return what the servers in front answer when those behind do not."""
    kinds = {502: "DataException", 503: "NetworkException", 504: "DataException"}
    return KiteError("Gateway timed out. Please try again.", kinds.get(status, "GeneralException"), status)


def too_many(limit: str = "") -> KiteError:
    """Return what is answered above a limit; the day's is told apart (its text is a guess)."""
    text = "Maximum allowed orders for the day exceeded." if limit == PER_DAY else "Too many requests"
    return KiteError(text, "NetworkException", 429)


def market_blocked() -> KiteError:
    return KiteError("Market orders are blocked for this instrument due to illiquidity. Place a limit order.")


def beyond_range() -> KiteError:
    return KiteError(
        "Price exceeds circuit limits for the instrument. Place an order within the daily range.",
        "OrderException",
    )


def refusal(fault: Fault) -> KiteError:
    return KiteError(fault.parameters["text"], fault.parameters["error_type"], fault.parameters["status"])
