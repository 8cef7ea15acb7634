"""A text that does not show itself."""

from __future__ import annotations

import hmac

MASK = "••••••••"


class Secret:
    """A credential: masked in every repr, format and log line; ``reveal`` gives the text.

    Not a ``str``, so joining it into a URL or a JSON body by accident fails instead of leaking.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Secret):
            other = other._text
        if not isinstance(other, str):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __str__(self) -> str:
        return MASK if self._text else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"
