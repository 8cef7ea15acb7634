"""Logging in by typing into our page."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from marketdata.brokers.dhan.simulated.demo import DHAN_PIN
from marketdata.models import BrokerAccount
from marketdata.simulator.control import SimulatorControl
from tests.support.logins import (
    OLD,
    new_account,
    one_time_code,
    token,
    told,
)

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


def test_a_pasted_token_is_checked_and_stored(
    owner: Client, dhan: BrokerAccount, control: SimulatorControl
) -> None:
    BrokerAccount.objects.filter(pk=dhan.pk).update(client_id="", api_key="", api_secret="")
    fresh = control.mint_token(dhan.client_id)

    said = told(owner, f"/brokers/{dhan.pk}/login/", {"way": "token", "token": f" {fresh}\n"})
    assert said.startswith(f"Logged in as {dhan.client_id} until ")
    assert token(dhan) == fresh
    assert dhan.token_expires_at is not None
    left = dhan.token_expires_at - timezone.now()
    assert timedelta(hours=23) < left <= timedelta(hours=24)


def test_a_pasted_token_of_another_client_is_refused(
    owner: Client, dhan: BrokerAccount, user: User, control: SimulatorControl
) -> None:
    other = new_account(user, control, "dhan")
    foreign = control.mint_token(other.client_id)

    told(owner, f"/brokers/{dhan.pk}/login/", {"way": "token", "token": foreign})
    assert token(dhan) == OLD


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "Access token is empty"),
        ("never-issued-canary-1", "DH-901"),
        ("two words-canary-2", "not a token of Dhan"),
        ("ünïcode-canary-3", "not a token of Dhan"),
    ],
)
def test_what_is_no_token_is_refused_in_words(
    owner: Client, dhan: BrokerAccount, typed: str, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = owner.post(f"/brokers/{dhan.pk}/login/", {"way": "token", "token": typed}, follow=True)

    assert words in " ".join(map(str, answer.context["messages"]))
    assert "canary" not in answer.content.decode() + caplog.text
    assert token(dhan) == OLD


def test_a_pin_and_a_code_make_a_token(owner: Client, dhan: BrokerAccount) -> None:
    typed = {"way": "pin", "pin": DHAN_PIN, "totp": one_time_code()}

    assert told(owner, f"/brokers/{dhan.pk}/login/", typed).startswith("Logged in as ")
    assert token(dhan) != OLD


@pytest.mark.parametrize(
    ("pin", "code", "words"),
    [
        ("654321", None, "Invalid Pin"),
        (DHAN_PIN, "000000", "Invalid TOTP"),
        ("12", None, "PIN: expected 6 digits"),
        (DHAN_PIN, "12345x", "One-time code: expected 6 digits"),
        (DHAN_PIN, "", "One-time code is empty"),
    ],
)
def test_a_wrong_pin_or_code_is_told_in_the_broker_s_words(
    owner: Client, dhan: BrokerAccount, pin: str, code: str | None, words: str
) -> None:
    typed = {"way": "pin", "pin": pin, "totp": one_time_code() if code is None else code}

    said = told(owner, f"/brokers/{dhan.pk}/login/", typed)
    assert words in said
    assert token(dhan) == OLD


def test_a_pin_reaches_no_log_when_the_broker_is_not_reached(
    owner: Client, dhan: BrokerAccount, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = {**settings.BROKER_ENDPOINTS["dhan"], "auth": "http://127.0.0.1:9"}
    settings.BROKER_ENDPOINTS = {**settings.BROKER_ENDPOINTS, "dhan": nowhere}
    caplog.set_level(logging.DEBUG)

    said = told(owner, f"/brokers/{dhan.pk}/login/", {"way": "pin", "pin": "918273", "totp": "456456"})
    assert "could not be asked" in said
    assert "918273" not in said + caplog.text
    assert "456456" not in said + caplog.text


@pytest.mark.parametrize("way", ["", "nonsense"])
def test_a_way_that_does_not_exist_is_refused(owner: Client, account: BrokerAccount, way: str) -> None:
    assert "not a way to log in" in told(owner, f"/brokers/{account.pk}/login/", {"way": way})


def test_a_login_that_another_account_has_is_not_stored_twice(
    owner: Client, dhan: BrokerAccount, user: User, control: SimulatorControl
) -> None:
    unnamed = BrokerAccount.objects.create(user=user, broker="dhan", access_token=OLD)
    fresh = control.mint_token(dhan.client_id)

    said = told(owner, f"/brokers/{unnamed.pk}/login/", {"way": "token", "token": fresh})
    assert said.startswith(f"Nothing was stored. Dhan {dhan.client_id} is an account here already.")
    assert fresh not in said
    assert (token(unnamed), unnamed.client_id) == (OLD, "")
    assert token(dhan) == OLD
