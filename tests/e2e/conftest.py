from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.async_api import expect as expect_async
from playwright.sync_api import expect

from marketdata.models import Lease
from tests.support.page import Web
from tests.support.valkey import PrivateValkey

EXPECT_MS = 20_000
"""A browser on a machine that does other work beside is slow; where soon is promised, a test says how soon."""
expect.set_options(timeout=EXPECT_MS)
expect_async.set_options(timeout=EXPECT_MS)


@pytest.fixture
def attended(user: User) -> None:
    """The page's user has listeners, as far as their lease tells: the web process has nothing to alarm of."""
    Lease.objects.create(user=user, worker="w1", token=1, expires_at=timezone.now() + timedelta(days=1))


@pytest.fixture
def web(valkey: PrivateValkey, attended: None) -> Iterator[Web]:
    server = Web(valkey)
    server.start()
    yield server
    server.stop()
