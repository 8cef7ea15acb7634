"""Reading stops again finds what a first reading would, and touches only what has changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction

from marketdata.models import BrokerAccount, Instrument
from strategies import arming
from strategies.arming import ArmedReader
from strategies.models import Strategy
from strategies.services import start_strategy, update_stop
from tests.support.exits import make


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(arming, "BLOCK", 4)
    monkeypatch.setattr(arming, "ROUND", 10_000)


@pytest.fixture
def strategies(account, instruments) -> list[Strategy]:
    names = sorted(instruments)
    return [start_strategy(make(account, instruments[names[number % 3]])) for number in range(20)]


def as_told(reader: ArmedReader, users: Sequence[int] | None) -> tuple[object, object]:
    stops, unarmed = reader.read(users)
    return sorted(stops, key=lambda stop: stop.strategy_id), sorted(unarmed, key=lambda row: row.strategy_id)


def test_what_has_not_changed_costs_one_query_and_is_the_same(strategies, django_assert_num_queries):
    reader = ArmedReader()
    before, _ = reader.read()
    with django_assert_num_queries(1):
        again, _ = reader.read()
    assert [id(stop) for stop in again] == [id(stop) for stop in before]
    update_stop(strategies[7], Decimal("1400"))
    with django_assert_num_queries(2):
        after, _ = reader.read()
    [new] = {id(stop): stop for stop in after}.keys() - {id(stop) for stop in before}
    assert [(stop.strategy_id, stop.epoch) for stop in after if id(stop) == new] == [(strategies[7].pk, 2)]


def change(**values: object) -> Callable[[Strategy], object]:
    return lambda strategy: Strategy.objects.filter(pk=strategy.pk).update(**values)


def listed(**values: object) -> Callable[[Strategy], object]:
    return lambda strategy: Instrument.objects.filter(pk=strategy.instrument_id).update(**values)


def poison(strategy: Strategy) -> None:
    bad = "'cheap'" if connection.vendor == "sqlite" else "'NaN'"
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE strategies_strategy SET stop_loss = {bad} WHERE id = {strategy.pk}")  # noqa: S608


CHANGES = [
    *(change(quantity=quantity) for quantity in (0, 1, 70)),
    *(change(stop_loss=price and Decimal(price)) for price in (None, "1400", "1400.0000001", "-1")),
    *(change(position=position) for position in ("NONE", "BOUGHT", "SOLD", "HELD")),
    *(change(status=status) for status in ("active", "active", "exiting", "suspended")),
    *(change(epoch=epoch) for epoch in (1, 2, 9)),
    *(change(contract=contract) for contract in ("EQ", "FUT 2026-11-26", "")),
    *(listed(token=token) for token in ("", "1", "2")),
    *(listed(tradingsymbol=name) for name in ("INFY", "TCS", "SBIN", "OTHER")),
    *(listed(strike=strike, expiry=date(2026, 11, 26)) for strike in (None, Decimal(100))),
    poison,
]


EACH = [
    *(change(**{name: value}) for name, value in {"epoch": 5, "quantity": 7, "position": "SOLD"}.items()),
    *(
        change(**{name: value})
        for name, value in {"contract": "FUT", "stop_loss": Decimal("1500.01")}.items()
    ),
    *(listed(**{name: "X"}) for name in ("exchange", "tradingsymbol", "token", "instrument_type")),
    listed(expiry=date(2026, 11, 26)),
    listed(strike=Decimal("0.05")),
]


def test_each_thing_that_counts_is_seen_by_itself(strategies):
    reader = ArmedReader()
    reader.read()
    owner = User.objects.create_user("other").pk
    account = BrokerAccount.objects.create(user_id=owner, broker="zerodha", name="b", client_id="AB0001")
    for hand in [*EACH, change(user_id=owner), change(account_id=account.pk)]:
        hand(strategies[0])
        digests_before = {block: known.digest for block, known in reader._blocks.items()}
        assert as_told(reader, None) == as_told(ArmedReader(), None)
        assert {block: known.digest for block, known in reader._blocks.items()} != digests_before


@pytest.mark.parametrize("seed", range(3))
def test_any_changes_are_all_found(strategies, account, instruments, seed):
    rng, reader = random.Random(seed), ArmedReader()
    other = User.objects.create_user("other").pk
    hands = [change(user_id=user) for user in (account.user_id, other)]
    for _ in range(60):
        for _ in range(rng.choice((0, 1, 1, 3))):
            with suppress(IntegrityError), transaction.atomic():  # two instruments of one name
                rng.choice(CHANGES + hands)(rng.choice(strategies))
        users = rng.choice((None, None, [account.user_id], [other, account.user_id], []))
        assert as_told(reader, users) == as_told(ArmedReader(), users)


def test_what_no_digest_tells_is_read_within_a_round(strategies, monkeypatch):
    monkeypatch.setattr(arming, "ROUND", 3)
    monkeypatch.setattr(arming, "digests", lambda rows, *_: {row.pk // 4: b"same" for row in rows})
    reader = ArmedReader()
    reader.read()
    for strategy in strategies:
        update_stop(strategy, Decimal("1400"))
    *_, (stops, _) = [reader.read() for _ in range(3)]
    assert {stop.epoch for stop in stops} == {2}


def test_a_price_that_cannot_be_read_costs_its_own_block_only(strategies, django_assert_max_num_queries):
    reader = ArmedReader()
    poison(strategies[3])
    with django_assert_max_num_queries(20):  # halves until it is alone with three others
        stops, [bad] = reader.read()
    assert (len(stops), bad.strategy_id) == (len(strategies) - 1, strategies[3].pk)
    for _ in range(2):
        with django_assert_max_num_queries(1):
            assert reader.read() == (stops, [bad])
    change(status="suspended")(strategies[3])
    assert reader.read() == (stops, [])
