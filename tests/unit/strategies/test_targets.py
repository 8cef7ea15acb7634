"""What a person who is not staff may have this server call: well-known services, and nothing else."""

from __future__ import annotations

import pytest

from strategies.channels import BadTarget
from strategies.targets import refuse_private, service_of

SERVICES = {
    "tgram://123456789:abcdefg_hijklmnop/12315544": "Telegram",
    "slack://TJQ2VHW4X/B01234567/aaaaaaaaaaaaaaaaaaaaaaaa/#general": "Slack",
    "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ": "Slack",
    "https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js": "Discord",
    "pover://user_key@app_token": "Pushover",
    "ntfy://a-topic-nobody-guesses": "ntfy",
    "mailto://me:app-password@gmail.com": "E-Mail",
}
ELSEWHERE = [
    "json://127.0.0.1:8000/",
    "xml://localhost/",
    "form://10.0.0.5/admin",
    "jsons://example.com/hook",
    "ntfy://127.0.0.1/topic",
    "ntfys://me:word@intranet/topic",
    "mailto://me:word@10.0.0.5",
    "mailto://me:word@gmail.com.evil.example",
    "matrix://me:word@intranet",
    "rocket://me:word@intranet/#room",
    "syslog://",
]
WITH_OPTIONS = [
    "mailto://me:word@gmail.com?smtp=127.0.0.1",
    "tgram://123456789:abcdefg_hijklmnop/12315544?verify=no",
    "slack://TJQ2VHW4X/B01234567/aaaaaaaaaaaaaaaaaaaaaaaa/#general?template=/etc/passwd",
    "ntfy://topic?mode=private",
]


@pytest.mark.parametrize("url", SERVICES)
def test_well_known_services_are_for_everybody(url: str) -> None:
    refuse_private(url, is_staff=False)
    assert service_of(url) == SERVICES[url]


@pytest.mark.parametrize("url", ELSEWHERE)
def test_servers_of_their_own_are_for_staff(url: str) -> None:
    with pytest.raises(BadTarget, match=r"for staff only|cannot be used"):
        refuse_private(url, is_staff=False)


@pytest.mark.parametrize("url", WITH_OPTIONS)
def test_options_that_lead_elsewhere_are_for_staff(url: str) -> None:
    with pytest.raises(BadTarget, match="options after a question mark"):
        refuse_private(url, is_staff=False)


def test_staff_may_use_whatever_apprise_knows() -> None:
    refuse_private("json://127.0.0.1:8000/", is_staff=True)
    with pytest.raises(BadTarget, match="none that apprise knows"):
        refuse_private("nosuch://a-token", is_staff=True)
