"""Who may open a socket, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from channels.auth import get_user
from channels.security.websocket import WebsocketDenier
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.http.request import split_domain_port, validate_host

_DEFAULT_PORTS = {"http": 80, "https": 443}
Origin = tuple[str, str, int]


class SameOrigin:
    """Refuses every handshake that another site's page started.

    Cookies travel with any site's handshake and CSRF tokens with none, so the origin is the
    only guard. It must match scheme, host and port of the address that was asked for, or be
    listed in ``CSRF_TRUSTED_ORIGINS``. No origin, no socket.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        allowed = is_own_origin(list(scope["headers"]))
        await (self._application if allowed else WebsocketDenier())(scope, receive, send)


def is_own_origin(headers: list[tuple[bytes, bytes]]) -> bool:
    """Tell whether a handshake came from a page of this site."""
    origin = _origin(_only(headers, b"origin"))
    host = _only(headers, b"host")
    if origin is None or not _is_allowed(host):
        return False
    # Daphne does not say which scheme a socket came by. The session cookie's own rule does.
    scheme = "https" if settings.SESSION_COOKIE_SECURE else "http"
    trusted = [_origin(entry) for entry in settings.CSRF_TRUSTED_ORIGINS if "*" not in entry]
    return origin == _origin(f"{scheme}://{host}") or origin in trusted


def _only(headers: list[tuple[bytes, bytes]], name: bytes) -> str:
    values = [value for key, value in headers if key.lower() == name]
    return values[0].decode("latin1") if len(values) == 1 else ""


def _is_allowed(host: str) -> bool:
    domain, _port = split_domain_port(host)
    return bool(domain) and validate_host(domain, settings.ALLOWED_HOSTS)


def _origin(text: str) -> Origin | None:
    """Return what a browser compares: scheme, host and port, nothing else allowed in it."""
    try:
        parts = urlsplit(text)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:  # a port that is no number, a broken IPv6 address
        return None
    if not parts.hostname or port is None or parts.username is not None or not text.isascii():
        return None
    if parts.path or parts.query or parts.fragment:
        return None
    return parts.scheme, parts.hostname, port


async def current_user(scope: Mapping[str, Any]) -> Any:
    """Return the user a socket belongs to *now*: anonymous after logout or a new password.

    Reads the session again; the one in ``scope`` is as old as the handshake.
    """
    old: SessionBase = scope["session"]
    # The scope's session is a lazy proxy; its class is that of the store inside.
    fresh: Any = old.__class__(old.session_key)
    user = await get_user({"session": fresh})  # type: ignore[typeddict-item]  # it reads nothing else
    return user if user.is_active else AnonymousUser()
