"""One telling of an alert, and its words. Standard library only.

No links and no buttons in them: what a message can do, whoever reads it can do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

_IST = ZoneInfo("Asia/Kolkata")
_HEADLINES = {
    "needs_human": "needs you",
    "unknown": "sent, not confirmed",
    "overfill": "more was traded than meant",
    "aborted": "the exit ended",
    "done": "the exit is finished",
    "feeds_disagree": "the feeds disagree",
    "price_outside_band": "an impossible price",
    "price_freak": "a freak price",
    "exchange_halted": "the exchange has halted",
    "exchange_mismatch": "the calendar and the exchange disagree",
    "expired": "the contract has expired",
    "expires_next": "the contract is about to expire",
    "expires_now": "the contract is about to expire",
    "suspended": "suspended: the stop is off",
    "crossed_unseen": "the price went through the stop unseen",
    "closed_beyond": "the market closed beyond the stop",
    "budget": "order limit",
    "feed": "feed trouble",
    "not_armed": "the stop is not watched",
    "unprotected": "not protected",
    "login_due": "log in today",
    "test": "a test",
    "no_listeners": "the listeners do not run",
}


@dataclass(frozen=True, slots=True)
class Telling:
    """An alert as one channel is told of it. ``body`` is that of ``alerts.alert_body``."""

    user_id: int
    user: str
    body: Mapping[str, Any]
    delivery_id: int = 0

    @property
    def is_urgent(self) -> bool:
        return self.body.get("urgency") != "info"


def kind_words(kind: str) -> str:
    """Return what kind of alert it is, in words."""
    return _HEADLINES.get(kind) or kind.replace("_", " ") or "something failed"


def title(tellings: Sequence[Telling]) -> str:
    """Return the first line of a message. The word LIVE is in it whenever money moves."""
    if len(tellings) == 1:
        return f"Tickguard: {_headline(tellings[0])}"
    urgent = sum(telling.is_urgent for telling in tellings)
    modes = sorted({str(telling.body.get("mode") or "") for telling in tellings} - {""})
    counted = f"{len(tellings)} alerts" + (f", {urgent} urgent" if urgent else "")
    return f"Tickguard: {counted}" + (f" ({', '.join(modes)})" if modes else "")


def text(tellings: Sequence[Telling]) -> str:
    """Return the whole message: every alert in full, what is urgent first. Nothing is left out."""
    if len(tellings) == 1:
        return _block(tellings[0])
    ordered = sorted(tellings, key=lambda telling: not telling.is_urgent)
    return "\n\n".join(f"{_headline(telling)}\n{_block(telling)}" for telling in ordered)


def _headline(telling: Telling) -> str:
    body = telling.body
    name = body.get("name") or body.get("symbol") or ""
    parts = (body.get("mode"), name, kind_words(str(body.get("kind") or "")))
    return " · ".join(str(part) for part in parts if part)


def _block(telling: Telling) -> str:
    body = telling.body
    moment = datetime.fromtimestamp(body["at"], UTC).astimezone(_IST)
    number = f"alert {body['id']}" if body.get("id") else ""
    facts = (body.get("symbol"), telling.user, f"{moment:%d %b %H:%M:%S} IST", number)
    lines = [str(body["text"]), " · ".join(str(fact) for fact in facts if fact)]
    return "\n".join(line for line in (*lines, _again(telling)) if line)


def _again(telling: Telling) -> str:
    if not telling.is_urgent or not telling.body.get("id"):
        return ""
    repeat = int(telling.body.get("repeat") or 0)
    told = "Repeated" if not repeat else f"Told {repeat + 1} times, repeated"
    return f"{told} until you acknowledge it on the live page."
