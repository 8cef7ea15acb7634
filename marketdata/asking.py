"""What every broker's reads over HTTP need: sessions that leak nothing, lists in portions."""

from __future__ import annotations

import gzip
import ssl
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.parse import urlencode

import requests
from requests.utils import get_encoding_from_headers

from marketdata.domain.errors import BrokerError, BrokerRejected, BrokerUnavailable
from marketdata.http_connections import KeptConnections, Reply

_T = TypeVar("_T")
_DOWNLOAD_TIMEOUT_S = (5.0, 60.0)
_REDIRECTS = range(300, 400)
_ACCEPT = {"Accept": "*/*", "Accept-Encoding": "gzip"}


def isolate(session: requests.Session) -> None:
    """Keep ``session`` from sending credentials where the environment or a redirect says."""
    session.trust_env = False  # a .netrc entry would replace the Authorization header, a proxy would see it
    session.max_redirects = 0


class ReadSession(requests.Session):
    """A session for an SDK, isolated, whose GETs go over kept connections without the detour through requests' layers.

    An exit waits for them, and the layers cost several times the request.

    Args:
        connections: How many are kept open.

    """

    def __init__(self, connections: int) -> None:
        super().__init__()
        isolate(self)
        self._kept = KeptConnections(connections)

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        if method != "GET" or args or kwargs.get("data"):
            return super().request(method, url, *args, **kwargs)
        query = urlencode(kwargs.get("params") or {}, doseq=True)
        return self._get(f"{url}?{query}" if query else url, kwargs["headers"], kwargs["timeout"])

    def close(self) -> None:
        super().close()
        self._kept.close()

    def _get(
        self, url: str, headers: Mapping[str, str], timeouts_s: tuple[float, float]
    ) -> requests.Response:
        start = url.index("/", url.index("//") + 2)
        try:
            reply = self._kept.get(url[:start], url[start:], {**_ACCEPT, **headers}, timeouts_s)
        except TimeoutError as exc:
            raise requests.exceptions.Timeout(exc) from exc
        except ssl.SSLError as exc:
            raise requests.exceptions.SSLError(exc) from exc
        except (OSError, HTTPException) as exc:
            raise requests.exceptions.ConnectionError(exc) from exc
        return _response(url, reply)


def _response(url: str, reply: Reply) -> requests.Response:
    if reply.status in _REDIRECTS:
        raise requests.exceptions.TooManyRedirects(f"{url} answered with a redirect")
    found = requests.Response()
    found.url, found.status_code, found.reason = url, reply.status, reply.reason
    found.headers.update(reply.headers.items())
    found.encoding = get_encoding_from_headers(found.headers)
    found._content = _unpacked(reply)
    return found


def _unpacked(reply: Reply) -> bytes:
    if reply.headers.get("Content-Encoding", "identity") == "identity":
        return reply.body
    try:
        return gzip.decompress(reply.body)
    except (OSError, EOFError, zlib.error) as exc:
        raise requests.exceptions.ContentDecodingError(exc) from exc


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
