"""A feed that ended before it carried anything: is it the token?

Dhan shows a dead token in four ways: a reason code, HTTP 401, HTTP 429, or a connection that is
made and then dropped without a word. The profile tells, and costs the feed no handshake.
"""

from __future__ import annotations

from typing import Any

from marketdata.brokers.dhan.book import client_id
from marketdata.brokers.dhan.reading import DhanReads
from marketdata.domain.errors import BrokerError, LoginExpired, TryLater
from marketdata.ports import BrokerConfig

_PLAN_RETRY_S = 60.0


def diagnose(config: BrokerConfig, root: str, error: Exception) -> Exception:
    """Return what ``error`` means in the light of the profile; itself when that says nothing. Blocks."""
    try:
        profile = DhanReads(root, config).profile()
        owner = client_id(profile)
    except LoginExpired as exc:
        return LoginExpired(f"Dhan does not accept the access token ({exc}): log in again")
    except BrokerError:
        return error
    if owner != config.client_id:
        return LoginExpired(
            f"the access token belongs to client {owner}, this account to {config.client_id}: log in as the latter"
        )
    if _has_no_plan(profile):
        return TryLater(f"{error}: the account's Data API plan is not active", _PLAN_RETRY_S)
    return error


def _has_no_plan(profile: Any) -> bool:
    plan = profile.get("dataPlan")
    return isinstance(plan, str) and plan.lower() != "active"
