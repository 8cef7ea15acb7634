"""Why Dhan ends a feed, and what that calls for.

Source: DhanHQ v2 documentation, "Annexure", Data API errors; the packet carries the number alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from marketdata.domain.errors import BrokerError, BrokerRejected, BrokerUnavailable, LoginExpired, TryLater

BACK_OFF_S = 60.0
"""A connection above the limit closes the oldest one: two that hurry would take turns for ever."""

_LOG_IN: Mapping[int, str] = {
    807: "the access token has expired",
    808: "the login was refused",
    809: "the access token is not valid",
    810: "the client id is not valid",
}
_REFUSED: Mapping[int, str] = {
    804: "more instruments than one connection carries",
    806: "the account has no Data API plan: subscribe to it on Dhan's page",
    811: "an expiry date is not valid",
    812: "a date is not valid",
    813: "a security id is not valid",
    814: "the request is not valid",
}
_TOO_MANY = 805


def goodbye(reason: int) -> BrokerError:
    """Return our error for a reason code, 800 to 814; one we do not know is tried again like any trouble."""
    said = f"Dhan ended the connection (reason {reason})"
    if reason in _LOG_IN:
        return LoginExpired(f"{said}: {_LOG_IN[reason]}; log in again")
    if reason in _REFUSED:
        return BrokerRejected(f"{said}: {_REFUSED[reason]}")
    if reason == _TOO_MANY:
        return TryLater(f"{said}: too many connections or requests; waiting a minute", BACK_OFF_S)
    return BrokerUnavailable(said)
