"""The pages of the API: tokens made and taken back, and its description."""

from __future__ import annotations

import re
from datetime import timedelta
from io import StringIO

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from project.api.models import ApiToken
from project.api.tokens import find
from tests.support.api import Program

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]
SECRET = re.compile(r"tg_[\w-]{43}")


@pytest.fixture
def trader(client: Client, user: User) -> Client:
    client.force_login(user)
    return client


def test_a_secret_is_shown_once(trader: Client) -> None:
    page = trader.post("/api/tokens/", {"name": "night robot", "lasts": "30"})
    [secret] = SECRET.findall(page.content.decode())
    assert page.headers["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
    token = find(secret, timezone.now())
    assert token is not None
    assert not token.read_only
    assert find(secret, timezone.now() + timedelta(days=30, seconds=1)) is None

    again = trader.get("/api/tokens/").content.decode()
    assert "night robot" in again
    assert not SECRET.search(again)
    twice = trader.post("/api/tokens/", {"name": "night robot", "lasts": ""}).content.decode()
    assert "There is a token named night robot already" in twice
    assert ApiToken.objects.count() == 1


def test_what_is_typed_wrong_makes_nothing(trader: Client) -> None:
    page = trader.post("/api/tokens/", {"name": " ", "lasts": "0"}).content.decode()
    assert "Say what it is for." in page
    assert not ApiToken.objects.exists()


def test_a_revoked_token_lets_nobody_in_and_only_its_user_revokes_it(
    trader: Client, program: Program, stranger: Program
) -> None:
    assert trader.post(f"/api/tokens/{stranger.token.pk}/revoke/").status_code == 404
    assert trader.get(f"/api/tokens/{program.token.pk}/revoke/").status_code == 405
    trader.post(f"/api/tokens/{program.token.pk}/revoke/")
    program.get("strategies")
    assert program.refused()[0] == 401
    stranger.get("strategies")
    assert stranger.heard.status_code == 200


def test_pages_ask_for_a_login_and_writes_for_a_csrf_token(client: Client, user: User) -> None:
    for address in ("/api/tokens/", "/api/docs"):
        assert client.get(address).headers["Location"].startswith("/accounts/login/")
    checked = Client(enforce_csrf_checks=True)
    checked.force_login(user)
    assert checked.post("/api/tokens/", {"name": "x", "lasts": ""}).status_code == 403
    assert not ApiToken.objects.exists()


def test_the_description_lists_every_route_without_inline_code(trader: Client) -> None:
    answer = trader.get("/api/docs")
    page = answer.content.decode()
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert all("src=" in script for script in page.split("<script")[1:])
    assert "style=" not in page
    assert "/strategies/{strategy}/stop-price" in page
    assert "stop_loss" in page


def test_a_command_makes_one_too(user: User) -> None:
    said = StringIO()
    call_command("create_api_token", "trader", name="cron", days=7, read_only=True, stdout=said)
    token = find(said.getvalue().strip(), timezone.now())
    assert token is not None
    assert token.read_only
    for arguments, words in (
        (["nobody", "--name", "x"], "no user nobody"),
        (["trader", "--name", "cron"], "a token named cron already"),
        (["trader", "--name", "x", "--days", "0"], "at least 1"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("create_api_token", *arguments)
