"""Listeners started, stopped and restarted: the service, and the command on top of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from marketdata.listening import (
    StillWatching,
    UnknownAccount,
    restart_listening,
    start_listening,
    stop_listening,
)
from marketdata.models import BrokerAccount, Instrument, Listener, ListenerEvent, Subscription
from project.management.commands.listeners import Command

pytestmark = pytest.mark.django_db
Instruments = Mapping[str, Instrument]


@pytest.fixture
def watching(account: BrokerAccount, instruments: Instruments) -> BrokerAccount:
    """An account that is to run, with two strategies and a watch list on it."""
    start_listening([account.pk], by="test")
    for holder, symbol in (("strategy:1", "NSE:INFY"), ("strategy:2", "NSE:INFY"), ("watch:1", "NSE:SBIN")):
        Subscription.objects.create(account=account, instrument=instruments[symbol], holder=holder)
    return account


def stored(account: BrokerAccount) -> tuple[str, int]:
    account.refresh_from_db()
    return account.desired_state, account.generation


def test_a_wish_is_written_with_who_asked(account: BrokerAccount) -> None:
    start_listening([account.pk], by="root")
    assert stored(account) == ("running", 0)
    restart_listening([account.pk], by="root")
    assert stored(account) == ("running", 1)
    stop_listening([account.pk], by="root")
    assert stored(account) == ("stopped", 1)
    restart_listening([account.pk], by="root")
    assert stored(account) == ("running", 2)
    assert {event.detail["by"] for event in ListenerEvent.objects.all()} == {"root"}


def test_what_watches_is_stopped_only_by_whoever_knows_it(watching: BrokerAccount) -> None:
    with pytest.raises(
        StillWatching, match=r"^2 strategies are watched through Test\. While stopped, none of"
    ):
        stop_listening([watching.pk], by="root")
    assert stored(watching)[0] == "running"
    stop_listening([watching.pk], by="root", even_watching=True)
    assert stored(watching)[0] == "stopped"
    stop_listening([watching.pk], by="root")  # nothing is watched any more


def test_one_unknown_account_changes_none(account: BrokerAccount) -> None:
    with pytest.raises(UnknownAccount, match="no account 999"):
        start_listening([account.pk, 999], by="root")
    assert stored(account)[0] == "stopped"


def test_credentials_that_cannot_be_read_keep_no_listener_running(account: BrokerAccount) -> None:
    start_listening([account.pk], by="root")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE marketdata_brokeraccount SET access_token = 'of another key'")
    stop_listening([account.pk], by="root")
    assert BrokerAccount.objects.values_list("desired_state", flat=True).get() == "stopped"


class TestCommand:
    def run(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
        try:
            call_command("listeners", *arguments)
            code = 0
        except CommandError as exc:
            return exc.returncode, str(exc)
        except SystemExit as exc:
            code = int(str(exc.code))
        return code, capsys.readouterr().out

    def test_it_tells_how_each_is(self, watching: BrokerAccount, capsys: pytest.CaptureFixture[str]) -> None:
        code, line = self.run(capsys)
        assert code == 1
        assert "state=stopped worker=- last_tick=never watched=0/2" in line
        assert "note='no process runs it: start run_listeners'" in line

        now = timezone.now()
        row = Listener.objects.create(
            account=watching, state="connected", worker="w1", reported_at=now, last_tick_at=now,
            subscription_count=2,
        )  # fmt: skip
        code, line = self.run(capsys)
        assert code == 0
        assert f"account=zerodha:{watching.pk} user=trader wanted=running state=connected worker=w1" in line
        assert "watched=2/2 note=-" in line

        Listener.objects.filter(pk=row.pk).update(state="connecting", last_error="connection refused")
        code, line = self.run(capsys)
        assert code == 1
        assert "state=connecting" in line
        assert "note='connection refused'" in line

    def test_it_moves_them(self, watching: BrokerAccount, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.run(capsys, "restart", str(watching.pk))[0] == 0
        assert stored(watching) == ("running", 1)
        code, said = self.run(capsys, "stop", str(watching.pk))
        assert (code, stored(watching)[0]) == (1, "running")
        assert "2 strategies are watched" in said
        assert "--yes" in said
        assert self.run(capsys, "stop", "--yes", str(watching.pk))[0] == 0
        assert stored(watching)[0] == "stopped"
        assert "by" in watching.events.latest("pk").detail

    def test_what_makes_no_sense_is_2(
        self, account: BrokerAccount, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            Command().run_from_argv(["manage.py", "listeners", "start"])
        assert ended.value.code == 2
        assert self.run(capsys, "start", "999") == (2, "There is no account 999: nothing was changed.")
