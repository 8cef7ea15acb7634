"""What every broker's reads over HTTP need: sessions that leak nothing, lists in portions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import requests

from marketdata.domain.errors import BrokerError, BrokerRejected, BrokerUnavailable

_T = TypeVar("_T")
_DOWNLOAD_TIMEOUT_S = (5.0, 60.0)


def isolate(session: requests.Session) -> None:
    """Keep ``session`` from sending credentials where the environment or a redirect says."""
    session.trust_env = False  # a .netrc entry would replace the Authorization header, a proxy would see it
    session.max_redirects = 0


def download(url: str, headers: Mapping[str, str], what: str) -> requests.Response:
    """Return the answer to one GET, read as UTF-8.

    Raises:
        BrokerUnavailable: Not reached, or in trouble.
        BrokerRejected: Refused.

    """
    with requests.Session() as session:
        isolate(session)
        try:
            reply = session.get(url, headers=dict(headers), timeout=_DOWNLOAD_TIMEOUT_S)
        except requests.exceptions.RequestException as exc:
            raise BrokerUnavailable(f"{what}: no answer ({type(exc).__name__})") from exc
    if reply.status_code != requests.codes.ok:
        raise _failure(reply.status_code, what)
    reply.encoding = "utf-8"
    return reply


def _failure(status: int, what: str) -> BrokerError:
    passing = status == requests.codes.too_many_requests or status >= requests.codes.server_error
    kind = BrokerUnavailable if passing else BrokerRejected
    return kind(f"{what}: HTTP {status}")


def in_portions(
    items: Sequence[_T], size: int, *, spacing_s: float, sleep: Callable[[float], None]
) -> Iterator[Sequence[_T]]:
    """Yield ``items`` in portions of ``size``, and rest between them: brokers count requests."""
    for start in range(0, len(items), size):
        if start:
            sleep(spacing_s)
        yield items[start : start + size]
