"""Which Dhan this installation talks to."""

from __future__ import annotations

from django.conf import settings


def root(role: str) -> str:
    """Return the address of a role of ``endpoints``, without a slash at its end."""
    return str(settings.BROKER_ENDPOINTS["dhan"][role])
