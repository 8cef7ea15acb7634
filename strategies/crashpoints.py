"""Named places on an order's way, where a test may end the process. Nothing happens there otherwise."""

from __future__ import annotations

from collections.abc import Callable

_hook: Callable[[str], None] | None = None


def install(hook: Callable[[str], None] | None) -> None:
    """Have ``hook`` called with the name of every place that is passed; for tests only."""
    global _hook  # noqa: PLW0603
    _hook = hook


def passing(name: str) -> None:
    """Say that ``name`` is reached."""
    if _hook is not None:
        _hook(name)
