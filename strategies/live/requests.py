"""What a browser may say on the socket, read strictly. Standard library only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MAX_BYTES = 64 * 1024
MAX_INSTRUMENTS = 100


class BadRequest(ValueError):
    """Not a message of the documented shape; the text is for the person."""


@dataclass(frozen=True, slots=True)
class Ack:
    seq: int


@dataclass(frozen=True, slots=True)
class WantSnapshot:
    pass


@dataclass(frozen=True, slots=True)
class Pause:
    """No prices for now: nobody sees the page. News go on, for they may be told aloud."""


@dataclass(frozen=True, slots=True)
class Resume:
    """Everything at once, and prices again."""


@dataclass(frozen=True, slots=True)
class Watch:
    symbols: tuple[str, ...]
    wanted: bool


Request = Ack | WantSnapshot | Pause | Resume | Watch
_PLAIN: dict[Any, Request] = {"snapshot": WantSnapshot(), "pause": Pause(), "resume": Resume()}


def read(text: str) -> Request:
    """Read one client message.

    Raises:
        BadRequest: Not JSON, an unknown type, or fields of the wrong kind or length.

    """
    message = _object(text)
    kind = message.get("type")
    if kind == "ack":
        return Ack(_seq(message.get("seq")))
    if isinstance(kind, str) and kind in _PLAIN:
        return _PLAIN[kind]
    if kind in ("watch", "unwatch"):
        return Watch(_symbols(message.get("instruments")), wanted=kind == "watch")
    raise BadRequest(
        f"unknown message type {_short(kind)}: send ack, snapshot, watch, unwatch, pause or resume"
    )


def _object(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise BadRequest("not JSON: send one object per message") from exc
    if not isinstance(message, dict):
        raise BadRequest("not an object: send one JSON object per message")
    return message


def _seq(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadRequest(f"ack.seq is {_short(value)}: send the number of the frame")
    return value


def _symbols(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        raise BadRequest('instruments must be a list of names such as "NSE:INFY"')
    if len(value) > MAX_INSTRUMENTS:
        raise BadRequest(f"{len(value)} instruments at once: send at most {MAX_INSTRUMENTS}")
    return tuple(item.strip().upper()[:80] for item in value)


def _short(value: Any) -> str:
    return repr(value)[:60]
