"""Where a broker is reached: declared in its folder, read from the environment by settings."""

from __future__ import annotations

from dataclasses import dataclass

HTTP = ("https", "http")
WEBSOCKET = ("wss", "ws")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One root: the environment variable that names it, and the broker's real address."""

    variable: str
    default: str
    schemes: tuple[str, ...] = HTTP
