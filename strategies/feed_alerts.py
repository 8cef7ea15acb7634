"""What the feeds' reporter tells pages, with its alerts made rows: so every channel is told of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import transaction

from marketdata.models import Listener
from marketdata.ports import LiveChannel
from strategies.alerts import alert_body, close_open, commit_alert
from strategies.models import Alert
from strategies.notifying import Notifier

KIND = "feed"


class FeedPages:
    """The pages, as the feeds' reporter knows them. Called on the event loop; returns at once."""

    def __init__(self, pages: LiveChannel, notifier: Notifier) -> None:
        self._pages = pages
        self._notifier = notifier

    def send(self, user_id: int, kind: str, body: Mapping[str, Any]) -> None:
        """Pass on everything but alerts, which are committed first. A connected feed ends its own."""
        if kind == "alert":
            self._notifier.commit(user_id, lambda: _commit(user_id, body), str(body["text"]))
            return
        self._pages.send(user_id, kind, body)
        if body.get("state") == Listener.State.CONNECTED:
            self._notifier.commit(user_id, lambda: _close(body), "")


def _commit(user_id: int, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    with transaction.atomic():
        alert = commit_alert(
            user_id=user_id,
            kind=KIND,
            text=body["text"],
            at=datetime.fromtimestamp(body["at"], UTC),
            account_id=body["account"],
            cause=str(body.get("cause", "")),
            urgency=Alert.Urgency.INFO,  # a token dies each morning: the page stays red, the phone does not
        )
        return None if alert is None else alert_body(alert)


def _close(body: Mapping[str, Any]) -> None:
    close_open(datetime.fromtimestamp(body["at"], UTC), (KIND,), account=body["account"])
