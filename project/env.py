"""The environment, read once and refused clearly."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

from marketdata.secret import Secret

_BETWEEN_URLS = re.compile(r"[,\s]*\s[,\s]*|,+(?=[A-Za-z][\w+.-]*://)")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def load(env_file: Path) -> environ.Env:
    """Return the environment with ``env_file`` under it: what is already set wins."""
    if env_file.is_file():
        environ.Env.read_env(env_file, overwrite=False)
    return environ.Env()


def required(name: str, *, debug: bool, development: str) -> str:
    """Return ``name``, or in development its default.

    Raises:
        ImproperlyConfigured: Unset in production.

    """
    value = os.environ.get(name, "")
    if value:
        return value
    if debug:
        return development
    raise ImproperlyConfigured(
        f"{name} is not set: set it in the environment or in .env (or DEBUG=1 to develop)"
    )


def root(name: str, default: str, *, schemes: tuple[str, ...]) -> str:
    """Return an endpoint, ``scheme://host[:port][/path]`` without a slash at its end.

    Raises:
        ImproperlyConfigured: Another scheme, or no host.

    """
    value = (os.environ.get(name) or default).rstrip("/")
    parts = urlsplit(value)
    if parts.scheme not in schemes or not parts.hostname:
        raise ImproperlyConfigured(f"{name}={value!r}: expected {' or '.join(schemes)}://host[:port][/path]")
    return value


def listening_at(name: str) -> tuple[str, int] | None:
    """Return where to listen, of ``port`` (on loopback) or ``host:port``; None when unset.

    Raises:
        ImproperlyConfigured: Neither.

    """
    value = os.environ.get(name, "")
    if not value:
        return None
    host, _, port = value.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ImproperlyConfigured(f"{name}={value!r}: expected a port, or host:port")
    return host.strip("[]") or "127.0.0.1", int(port)


def is_loopback(url: str) -> bool:
    """Tell whether ``url`` points at this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def secret_urls(name: str) -> tuple[Secret, ...]:
    """Return the URLs in ``name``, between commas or spaces; a comma inside one stays there."""
    value = os.environ.get(name, "").strip(", \t\n")
    return tuple(Secret(url) for url in _BETWEEN_URLS.split(value) if url)


def secret_url(name: str) -> Secret:
    """Return the http address in ``name``; an empty one when it is not set.

    Raises:
        ImproperlyConfigured: It is no such address; the text does not say what it is.

    """
    value = os.environ.get(name, "").strip()
    if value and (urlsplit(value).scheme not in ("http", "https") or not urlsplit(value).hostname):
        raise ImproperlyConfigured(f"{name}: expected http:// or https:// and a host")
    return Secret(value)
