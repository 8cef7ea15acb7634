from __future__ import annotations

from typing import Any

import pytest

from marketdata.secret import Secret
from project import env as environment
from strategies.channels import BadTarget, apprise_channels
from strategies.telling import Telling, text, title

BODY: dict[str, Any] = {
    "id": 17, "repeat": 0, "kind": "needs_human", "urgency": "urgent", "mode": "LIVE", "name": "Infosys swing",
    "symbol": "NSE:INFY", "text": "The exit was sent, but the broker has not confirmed it.", "at": 1_800_000_000.0,
}  # fmt: skip


def telling(**changes: Any) -> Telling:
    return Telling(3, "trader", {**BODY, **changes})


def test_one_alert_in_full() -> None:
    assert title([telling()]) == "Tickguard: LIVE · Infosys swing · needs you"
    assert text([telling()]) == (
        "The exit was sent, but the broker has not confirmed it.\n"
        "NSE:INFY · trader · 15 Jan 13:30:00 IST · alert 17\n"
        "Repeated until you acknowledge it on the live page."
    )


def test_a_repeated_one_says_so() -> None:
    assert text([telling(repeat=3)]).endswith(
        "Told 4 times, repeated until you acknowledge it on the live page."
    )


def test_news_ask_for_nothing() -> None:
    news = telling(urgency="info", kind="done", mode="simulator", text="Filled: sold 10 @ 1489.95.")
    assert title([news]) == "Tickguard: simulator · Infosys swing · the exit is finished"
    assert "acknowledge" not in text([news])


def test_several_in_one_message_what_is_urgent_first() -> None:
    news = telling(urgency="info", kind="done", mode="paper", text="Filled: sold 10 @ 1489.95.", id=18)
    both = [news, telling()]
    assert title(both) == "Tickguard: 2 alerts, 1 urgent (LIVE, paper)"
    assert text(both).startswith("LIVE · Infosys swing · needs you\nThe exit was sent")
    assert "paper · Infosys swing · the exit is finished\nFilled: sold 10 @ 1489.95." in text(both)


def test_an_alarm_without_a_row_and_a_kind_without_words() -> None:
    alarm = Telling(3, "user 3", {"text": "The database cannot be written.", "at": 1_800_000_000.0})
    assert title([alarm]) == "Tickguard: something failed"
    assert text([alarm]) == "The database cannot be written.\nuser 3 · 15 Jan 13:30:00 IST"
    assert title([telling(kind="very_new")]).endswith("very new")


@pytest.mark.parametrize(
    ("value", "urls"),
    [
        ("", []),
        ("  ,\n", []),
        ("json://a/b", ["json://a/b"]),
        ("json://a,xml://b json://c\nxml://d", ["json://a", "xml://b", "json://c", "xml://d"]),
        ("json://a, xml://b ,", ["json://a", "xml://b"]),
        ("mailto://u:p@x.org?to=a@x.org,b@x.org", ["mailto://u:p@x.org?to=a@x.org,b@x.org"]),
        ("json://a, typo", ["json://a", "typo"]),
    ],
)
def test_targets_stand_between_commas_or_spaces(value, urls, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_URLS", value)
    found = environment.secret_urls("ALERT_URLS")
    assert [url.reveal() for url in found] == urls
    assert all(url not in repr(found) for url in urls)


@pytest.mark.parametrize("bad", ["typo-with-a-token", "nosuch://token", "tgram://a-token", "json://"])
def test_a_target_that_cannot_be_used_is_named_by_its_place(
    bad: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadTarget, match="target 2 of 2") as caught:
        apprise_channels([Secret("json://127.0.0.1:9/good"), Secret(bad)])
    assert "token" not in str(caught.value)
    assert "token" not in "".join(capfd.readouterr())
