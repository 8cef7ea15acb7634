"""How a token is come by, with the SDK's own requests."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from dhanhq import DhanLogin

from marketdata.brokers.dhan.simulated.auth import totp
from marketdata.brokers.dhan.simulated.demo import DHAN_DEMO_CLIENT_ID, DHAN_PIN, DHAN_TOTP_SECRET
from marketdata.simulator.control import SimulatorControl
from tests.support import simulator_dhan
from tests.support.simulator import RunningSimulator


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Pages the SDK opens in a browser: kept here instead."""
    pages: list[str] = []
    monkeypatch.setattr("webbrowser.open", pages.append)
    return pages


@pytest.fixture
def login(running: RunningSimulator, account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> DhanLogin:
    monkeypatch.setattr(DhanLogin, "AUTH_BASE_URL", running.env["DHAN_AUTH_ROOT"])
    monkeypatch.setattr(DhanLogin, "API_BASE_URL", running.dhan_api_root)
    return DhanLogin(account["client_id"])


def code(control: SimulatorControl, steps: int = 0) -> str:
    return totp(DHAN_TOTP_SECRET, control.state()["time"] + steps * 30)


def test_the_code_is_an_authenticators() -> None:
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"  # RFC 6238's "12345678901234567890"
    assert [totp(secret, at) for at in (59, 1_111_111_109, 20_000_000_000)] == ["287082", "081804", "353130"]


def test_the_demo_account_is_told_with_all_that_opens_it(running: RunningSimulator) -> None:
    demo = running.ready["demos"]["dhan"]
    assert (demo["client_id"], demo["pin"], demo["totp_secret"]) == (
        DHAN_DEMO_CLIENT_ID, DHAN_PIN, DHAN_TOTP_SECRET,
    )  # fmt: skip
    session = simulator_dhan.client(running.dhan_api_root, demo)
    assert session.get_fund_limits()["data"]["dhanClientId"] == DHAN_DEMO_CLIENT_ID


def test_pin_and_code(login: DhanLogin, account: dict[str, str], control: SimulatorControl) -> None:
    session = login.generate_token(DHAN_PIN, code(control))
    assert session["dhanClientId"] == account["client_id"]
    assert login.user_profile(session["accessToken"])["dhanClientId"] == account["client_id"]
    with pytest.raises(Exception, match="DH-901"):  # the token before is dead
        login.user_profile(account["access_token"])


@pytest.mark.parametrize(
    ("pin", "steps", "message"), [("654321", 0, "Invalid Pin"), (DHAN_PIN, -20, "Invalid TOTP")]
)
def test_a_refusal_is_a_200_with_an_error_in_it(
    login: DhanLogin, control: SimulatorControl, *, pin: str, steps: int, message: str
) -> None:
    assert login.generate_token(pin, code(control, steps)) == {"message": message, "status": "error"}


def test_one_token_in_two_minutes(login: DhanLogin, control: SimulatorControl) -> None:
    control.enforce_limits()
    assert "accessToken" in login.generate_token(DHAN_PIN, code(control))
    again = login.generate_token(DHAN_PIN, code(control))
    assert again["message"] == "Token can be generated once every 2 minutes."


def test_a_token_of_a_login_does_not_renew(
    login: DhanLogin, account: dict[str, str], control: SimulatorControl
) -> None:
    by_hand = login.renew_token(account["access_token"])["accessToken"]
    assert login.user_profile(by_hand)["dhanClientId"] == account["client_id"]
    issued = login.generate_token(DHAN_PIN, code(control))["accessToken"]
    with pytest.raises(Exception, match="DH-905"):
        login.renew_token(issued)


def consented(login: DhanLogin, account: dict[str, str], opened: list[str]) -> str:
    """Go through the browser's part and return the token id it comes back with."""
    consent = login.generate_login_session(account["api_key"], account["api_secret"])
    (page,) = opened
    assert parse_qs(urlsplit(page).query) == {"consentAppId": [consent]}
    back = requests.get(page, allow_redirects=False, timeout=5)
    assert back.status_code == 302
    return parse_qs(urlsplit(back.headers["Location"]).query)["tokenId"][0]


def test_consent(login: DhanLogin, account: dict[str, str], opened: list[str]) -> None:
    token_id = consented(login, account, opened)
    session = login.consume_token_id(token_id, account["api_key"], account["api_secret"])
    assert session["expiryTime"].count("T") == 1
    assert login.user_profile(session["accessToken"])["dhanClientId"] == account["client_id"]
    with pytest.raises(Exception, match="Invalid Token ID"):  # single use
        login.consume_token_id(token_id, account["api_key"], account["api_secret"])


def test_a_token_id_is_its_own_apps(
    login: DhanLogin, account: dict[str, str], opened: list[str], control: SimulatorControl
) -> None:
    token_id = consented(login, account, opened)
    other = control.create_account("1300000001")
    with pytest.raises(Exception, match="Invalid Token ID"):
        login.consume_token_id(token_id, other["api_key"], other["api_secret"])
    with pytest.raises(Exception, match="DH-901"):
        login.consume_token_id(token_id, account["api_key"], "wrong")


def test_a_page_without_a_consent_says_so(running: RunningSimulator) -> None:
    page = f"{running.env['DHAN_AUTH_ROOT']}/login/consentApp-login?consentAppId=wrong"
    answer = requests.get(page, timeout=5)
    assert (answer.status_code, answer.text) == (400, "Details not found")


def test_an_address_of_ones_own(
    login: DhanLogin, account: dict[str, str], control: SimulatorControl, opened: list[str]
) -> None:
    control.create_account(**account | {"redirect_url": "http://127.0.0.1:1/back?x=1"})
    login.generate_login_session(account["api_key"], account["api_secret"])
    back = requests.get(opened[0], allow_redirects=False, timeout=5).headers["Location"]
    assert back.startswith("http://127.0.0.1:1/back?x=1&tokenId=")
