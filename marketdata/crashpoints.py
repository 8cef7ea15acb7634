"""Named places on an order's way, where a test may end the process. Nothing happens there otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping

POINTS: Mapping[str, str] = {
    "CP1": "a breach is decided, and nothing is written",
    "CP2": "the intent to exit is written, and not committed",
    "CP3": "the intent is committed",
    "CP4": "the account was read, and no order is planned yet",
    "CP5": "a planned order is committed",
    "CP6": "its permit is committed, and no byte has left",
    "CP7": "the order is on the wire, and there is no answer yet",
    "CP8": "it was answered, and the answer is not committed",
    "CP9": "that the broker has the order is committed",
    "CP10": "the wish to cancel is committed, and no byte has left",
    "CP11": "the cancel is on the wire, and there is no answer yet",
    "CP12": "the cancel was answered, and the book was not read yet",
    "CP13": "the book has shown an order's end, and that is not committed",
    "CP14": "an order's end is committed",
    "CP15": "the exit's end is committed, and nobody was told",
    "CP16": "a channel was told, and that is not committed",
}

_hook: Callable[[str], None] | None = None


def install(hook: Callable[[str], None] | None) -> None:
    """Have ``hook`` called with the name of every place that is passed; for tests only."""
    global _hook  # noqa: PLW0603
    _hook = hook


def passing(name: str) -> None:
    """Say that ``name``, one of ``POINTS``, is reached; called from whatever thread gets there."""
    if _hook is not None:
        _hook(name)
