from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.valkey import PrivateValkey


def test_it_comes_back_where_it_was(valkey: PrivateValkey) -> None:
    valkey.kill()
    with valkey.client() as client, pytest.raises(redis.ConnectionError):
        client.ping()
    valkey.start()
    with valkey.client() as client:
        assert client.ping()


def test_frozen_it_accepts_and_does_not_answer(valkey: PrivateValkey) -> None:
    valkey.freeze()
    hasty = redis.Redis(port=valkey.port, socket_timeout=0.1, retry=Retry(NoBackoff(), 0))
    with pytest.raises(redis.TimeoutError):
        hasty.ping()
    valkey.thaw()
    assert hasty.ping()
    hasty.close()
