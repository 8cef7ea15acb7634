"""What the SDK raises, by what the caller should do."""

from __future__ import annotations

from typing import Any

import pytest
import requests
from kiteconnect import exceptions

from marketdata.brokers.zerodha.reading import read
from marketdata.domain.errors import BadReply, BrokerError, BrokerRejected, BrokerUnavailable, LoginExpired


def raising(error: BaseException) -> Any:
    def call() -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.TokenException("dead", code=403), LoginExpired),
        (exceptions.PermissionException("no", code=403), BrokerRejected),
        (exceptions.InputException("no", code=400), BrokerRejected),
        (exceptions.GeneralException("UserException under another name", code=403), BrokerRejected),
        (exceptions.GeneralException("no", code=500), BrokerUnavailable),
        (exceptions.OrderException("no", code=500), BrokerUnavailable),
        (exceptions.NetworkException("no", code=503), BrokerUnavailable),
        (exceptions.NetworkException("slow down", code=429), BrokerUnavailable),
        (exceptions.DataException("no", code=504), BrokerUnavailable),
        (exceptions.DataException("Unknown Content-Type (text/html) with response: (secret)"), BadReply),
        (
            exceptions.DataException("Couldn't parse the JSON response received from the server: secret"),
            BadReply,
        ),
        (requests.exceptions.ReadTimeout("/orders"), BrokerUnavailable),
        (requests.exceptions.ConnectionError("secret"), BrokerUnavailable),
        (requests.exceptions.TooManyRedirects("secret"), BrokerUnavailable),
        (KeyError("data"), BadReply),
        (TypeError("getattr(): attribute name must be string"), BadReply),
        (AttributeError("'list' object has no attribute 'get'"), BadReply),
        (UnboundLocalError("_list"), BadReply),
        (BadReply("orders: expected a list"), BadReply),
    ],
)
def test_each_failure_has_its_kind(error: Exception, expected: type[BrokerError]) -> None:
    with pytest.raises(expected) as caught:
        read(raising(error))
    assert type(caught.value) is expected
    assert "secret" not in str(caught.value)


def test_an_interrupt_is_no_answer() -> None:
    with pytest.raises(KeyboardInterrupt):
        read(raising(KeyboardInterrupt()))


def test_what_is_read_comes_back() -> None:
    assert read(lambda: 5) == 5
