"""Errors in Dhan's words: one shape for orders and portfolio, another for market data."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from marketdata.simulator.faults import Fault
from marketdata.simulator.limits import PER_DAY

_TYPES = {
    "DH-901": "Invalid_Authentication", "DH-902": "Invalid_Access", "DH-903": "User_Account",
    "DH-904": "Rate_Limit", "DH-905": "Input_Exception", "DH-906": "Order_Error", "DH-907": "Data_Error",
    "DH-908": "Internal_Server_Error", "DH-909": "Network_Error", "DH-910": "Others",
    "DH-911": "Invalid_IP", "DH-1111": "HOLDING_ERROR",
}  # fmt: skip


class DhanError(Exception):
    """A refusal: ``{"errorType", "errorCode", "errorMessage"}``.

    Args:
        message: What the broker says.
        code: ``DH-905`` and the like; digits alone (``808``) take the shape of the data APIs.
        status: HTTP status.

    """

    def __init__(self, message: str, code: str = "DH-905", status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status

    def body(self) -> dict[str, Any]:
        if self.code.isdecimal():
            return {"data": {self.code: self.message}, "status": "failed"}
        kind = _TYPES.get(self.code, "Others")
        return {"errorType": kind, "errorCode": self.code, "errorMessage": self.message}

    def response(self) -> web.Response:
        return web.json_response(self.body(), status=self.status)


def dead_token() -> DhanError:
    return DhanError("Client ID or user generated access token is invalid or expired.", "DH-901", 401)


def dead_data_token() -> DhanError:
    return DhanError("Authentication Failed - Client ID or Access Token invalid", "808", 401)


def missing(field: str) -> DhanError:
    return DhanError(f"Missing required field: {field}")


def invalid(field: str) -> DhanError:
    return DhanError(f"Invalid value for {field}")


def order_error(message: str) -> DhanError:
    return DhanError(message, "DH-906")


def too_many(limit: str = "") -> DhanError:
    """Return what is answered above a limit; that of the day is told apart (its text is a guess)."""
    what = "the daily order limit" if limit == PER_DAY else "rate limits"
    return DhanError(f"Too many requests on server from single user breaching {what}.", "DH-904", 429)


def market_blocked() -> DhanError:
    return order_error("Market orders are not allowed in this illiquid contract")


def beyond_range() -> DhanError:
    return order_error("Price is out of the day's circuit limits")


def gateway_error(status: int) -> DhanError:
    """Return what the servers in front answer when those behind do not."""
    code = "DH-908" if status == 500 else "DH-909"
    return DhanError("Server was not able to process API request.", code, status)


def refusal(fault: Fault) -> DhanError:
    """Return the fault ``reject``: its ``error_type`` is a code of Dhan's, else an order error."""
    kind = str(fault.parameters["error_type"])
    code = kind if kind.startswith("DH-") or kind.isdecimal() else "DH-906"
    return DhanError(fault.parameters["text"], code, fault.parameters["status"])
