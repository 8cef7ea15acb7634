from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.page import Web
from tests.support.valkey import PrivateValkey


@pytest.fixture
def web(valkey: PrivateValkey) -> Iterator[Web]:
    server = Web(valkey)
    server.start()
    yield server
    server.stop()
