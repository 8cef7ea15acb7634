from __future__ import annotations

import pytest
from pytest_django.fixtures import Settings

from strategies.live.access import is_own_origin

OTHERS = [
    "null",
    "",
    "http://evil.example",
    "http://sub.localhost:8000",
    "http://localhost.evil.example:8000",
    "http://evil-localhost:8000",
    "http://localhost:8001",
    "http://localhost",
    "https://localhost:8000",
    "ws://localhost:8000",
    "http://localhost:8000@evil.example",
    "http://evil.example#localhost:8000",
    "http://localhost:8000/path",
    "http://localhost:notaport",
    "http://lоcalhost:8000",  # a Cyrillic о
    "http://127.0.0.1:8000",
]


def headers(origin: str | None, host: str = "localhost:8000") -> list[tuple[bytes, bytes]]:
    found = [(b"host", host.encode())]
    return found if origin is None else [*found, (b"origin", origin.encode())]


def test_the_page_s_own_origin_is_let_in() -> None:
    assert is_own_origin(headers("http://localhost:8000"))
    assert is_own_origin(headers("http://LOCALHOST:8000"))


@pytest.mark.parametrize("origin", [*OTHERS, None])
def test_every_other_origin_is_refused(origin: str | None) -> None:
    assert not is_own_origin(headers(origin))


def test_two_origins_are_refused() -> None:
    assert not is_own_origin([*headers("http://localhost:8000"), (b"origin", b"http://localhost:8000")])


def test_a_host_that_is_not_ours_is_refused_even_with_its_own_origin() -> None:
    assert not is_own_origin(headers("http://evil.example", host="evil.example"))


def test_behind_tls_only_https_is_ours(settings: Settings) -> None:
    settings.SESSION_COOKIE_SECURE = True

    assert is_own_origin(headers("https://localhost", host="localhost"))
    assert is_own_origin(headers("https://localhost:443", host="localhost"))
    assert not is_own_origin(headers("http://localhost", host="localhost"))


def test_a_trusted_origin_is_let_in_and_a_pattern_is_not(settings: Settings) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://desk.example", "https://*.example"]

    assert is_own_origin(headers("https://desk.example"))
    assert not is_own_origin(headers("https://other.example"))
