"""Waits made short in a child of the matrix, for tests only: the engine's own numbers stay in its modules."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from importlib import import_module
from typing import Any

from marketdata.domain.leasing import Terms
from strategies.domain import absence

SHORTENED: Mapping[str, Sequence[str]] = {
    "strategies.domain.absence": ("QUIET_S", "SPACING_S"),
    "strategies.domain.trying": ("FIX_AFTER_S", "WAITS_S", "REPRICE_S"),
    "strategies.domain.steps": ("UNKNOWN_POLL_S", "SETTLING_S", "LIMIT_CHECK_S", "CANCEL_AGAIN_S"),
    "strategies.domain.ordering": ("POLL_S", "HOLD_POLL_S", "HUMAN_POLL_S"),
    "strategies.domain.folding": ("REFUSED_LOOK_UP_S",),
    "strategies.domain.sending": ("RETRY_S", "RETRY_MAX_S"),
    "strategies.domain.sentences": ("TELL_AFTER_S", "RESTING_S", "CANCELLING_S"),
    "strategies.watchman": ("SOON_S", "LATER_S"),
    "strategies.accounts": ("READ_SPACING_S", "READ_RETRY_S"),
    "strategies.engine": ("RECONCILE_S",),
    "strategies.worker": ("FAILED_REST_S", "FAILED_REST_MAX_S"),
    "strategies.notifying": ("SWEEP_S",),
}
"""What is waited for, by module. What protects (how old a plan, a permit or a price may be) stays as it is."""

LEASES = 0.4
"""Leases are shortened less: a healthy owner on a busy machine must not look silent."""


def shorten(factor: float, leases: float) -> None:
    """Multiply every wait of ``SHORTENED``, wherever it has been imported to, and those of leases."""
    for module, names in SHORTENED.items():
        for name in names:
            _replace(name, old := getattr(import_module(module), name), _times(old, factor))
    Terms.__init__.__defaults__ = tuple(seconds * leases for seconds in _terms())


def window_s(factor: float) -> float:
    """Return the shortest time after which an order may be taken for absent."""
    return (absence.QUIET_S + (absence.READS - 1) * absence.SPACING_S) * factor


def described(factor: float) -> str:
    """Return what is shortened, for people."""
    names = ", ".join(name for names in SHORTENED.values() for name in names)
    return f"waits are multiplied by {factor:g} (leases by {LEASES:g} where they run out), in the children only: {names}"


def _replace(name: str, old: object, new: object) -> None:
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("strategies") and getattr(module, name, None) is old:
            setattr(module, name, new)


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, tuple):
        return tuple(one * factor for one in value)
    return value * factor if isinstance(value, float | timedelta) else value


def _terms() -> tuple[float, ...]:
    terms = Terms()
    return tuple(getattr(terms, name) for name in Terms.__dataclass_fields__)
