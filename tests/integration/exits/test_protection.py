"""What the database takes for protected without a row being read is what judging every row says."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction

from marketdata.domain.sessions import Calendar
from marketdata.models import BrokerAccount, Instrument, Listener, Subscription
from strategies.models import Strategy
from strategies.protection import Judge, Protection, Unprotected, is_held, protection
from strategies.services import start_strategy
from tests.support.exits import make

NOW = datetime(2026, 11, 26, 6, 0, tzinfo=UTC)
LATE, OVER = NOW - timedelta(minutes=1), NOW + timedelta(hours=1)


@pytest.fixture
def strategies(account, instruments) -> list[Strategy]:
    other = BrokerAccount.objects.create(
        user=account.user, broker="zerodha", name="Other", client_id="AB0002", access_token="token"
    )
    for one in (account, other):
        Listener.objects.create(account=one, state="connected", reported_at=NOW, last_tick_at=NOW)
    holders = [(one, name) for one in (account, other) for name in sorted(instruments)] * 2
    return [start_strategy(make(one, instruments[name])) for one, name in holders]


def one_by_one(calendar: Calendar) -> Protection:
    rows = Strategy.objects.filter(status="active").exclude(position="NONE").annotate(is_held=is_held())
    found = [(row.pk, Judge(NOW, calendar).why_unprotected(row)) for row in rows.order_by("pk")]
    missing = tuple(Unprotected(pk, reason) for pk, reason in found if reason)
    return Protection(len(found), len(found) - len(missing), missing)


def told(calendar: Calendar) -> Protection:
    found = protection(None, NOW, calendar)
    missing = tuple(sorted(found.unprotected, key=lambda row: row.strategy))
    return Protection(found.armed, found.protected, missing)


Hand = Callable[[Strategy], object]


def strategy(**values: object) -> Hand:
    return lambda one: Strategy.objects.filter(pk=one.pk).update(**values)


def account(**values: object) -> Hand:
    return lambda one: BrokerAccount.objects.filter(pk=one.account_id).update(**values)


def listener(**values: object) -> Hand:
    return lambda one: Listener.objects.filter(account=one.account_id).update(**values)


def unheld(one: Strategy) -> None:
    Subscription.objects.filter(holder=f"strategy:{one.pk}").delete()


def without_listener(one: Strategy) -> None:
    Listener.objects.filter(account=one.account_id).delete()


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


HANDS = [
    *(strategy(position=position) for position in ("BOUGHT", "SOLD", "HELD", "NONE")),
    *(strategy(quantity=quantity) for quantity in (0, 1, 2**31 - 1)),
    *(strategy(stop_loss=stop and Decimal(stop)) for stop in (None, "0", "-1", "0.0000001", "9999999999999")),
    *(strategy(status=status) for status in ("active", "exiting")),
    *(account(desired_state=state) for state in ("running", "running", "stopped")),
    *(account(token_expires_at=at) for at in (None, OVER, LATE)),
    *(listener(state=state) for state in ("connected", "connected", "connecting", "login_needed")),
    *(listener(reported_at=at) for at in (NOW, NOW, LATE, None)),
    *(listener(last_tick_at=at) for at in (NOW, NOW, LATE, None)),
    *(
        listener(unseen=unseen)
        for unseen in ({}, {"NSE:INFY": "dark"}, {"BSE:INFY": "dark", "NSE:SBIN": "dark"})
    ),
    lambda one: Instrument.objects.filter(pk=one.instrument_id).update(token=""),
    unheld,
]


@pytest.mark.parametrize("seed", range(3))
def test_any_rows_are_judged_alike(strategies, seed, monkeypatch):
    monkeypatch.setattr("strategies.protection._NAMED", seed)
    rng = random.Random(seed)
    for number in range(80):
        rng.choice(HANDS)(rng.choice(strategies))
        if number == 70:
            without_listener(strategies[0])
        calendar = Calendar(always=rng.random() < 0.7)
        assert told(calendar) == one_by_one(calendar)


def test_each_trouble_is_seen_by_itself(strategies):
    everything = Calendar(always=True)
    assert told(everything) == Protection(len(strategies), len(strategies), ())
    troubles = [
        *(strategy(position="HELD"), strategy(quantity=0), strategy(stop_loss=None), strategy(stop_loss=0)),
        *(account(desired_state="stopped"), account(token_expires_at=LATE), account(access_token="")),
        *(listener(state="connecting"), listener(reported_at=None), listener(last_tick_at=LATE)),
        *(listener(unseen={"NSE:INFY": "dark"}), listener(state="login_needed"), without_listener),
        lambda one: Instrument.objects.filter(pk=one.instrument_id).update(token=""),
        lambda one: Subscription.objects.filter(instrument=one.instrument_id).delete(),
    ]
    for trouble in troubles:
        with undone():
            trouble(strategies[0])
            found = told(everything)
            assert strategies[0].pk in {row.strategy for row in found.unprotected}
            assert found == one_by_one(everything)


SQLITE_STORES, POSTGRES_STORES = [("stop_loss", "cheap"), ("quantity", "ten")], [("stop_loss", "NaN")]


@pytest.mark.parametrize(
    ("column", "value"), SQLITE_STORES if connection.vendor == "sqlite" else POSTGRES_STORES
)
def test_what_is_no_number_is_not_taken_for_protected(strategies, column, value):
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE strategies_strategy SET {column} = %s", [value])  # noqa: S608
    with suppress(TypeError, ArithmeticError):  # such a price cannot be read or compared
        assert not protection(None, NOW, Calendar(always=True)).protected
