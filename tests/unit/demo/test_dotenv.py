from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from project.demo import dotenv, ports
from project.env import is_loopback
from tests.environment import VARIABLES
from tests.support.ports import free_ports


@pytest.fixture(autouse=True)
def ports_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from ports nobody else on this machine would take first."""
    names = ("CONTROL_PORT", "BROKER_PORT", "REDIS_PORT")
    for name, port in zip(names, free_ports(len(names)), strict=True):
        monkeypatch.setattr(dotenv, name, port)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_a_fresh_file_is_complete_private_and_on_this_machine(path: Path) -> None:
    prepared = dotenv.prepare(path, {})
    written = dotenv.read(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    Fernet(written["CREDENTIAL_KEYS"])  # raises when it is no key
    assert len(written["SECRET_KEY"]) >= 50
    assert all(is_loopback(written[name]) for name in written if name.endswith(("_ROOT", "_URL")))
    assert prepared.variables == written
    assert written["REDIS_URL"] == f"redis://127.0.0.1:{prepared.redis_port}/0"


def test_two_installations_share_no_key(tmp_path: Path) -> None:
    one, other = (dotenv.prepare(tmp_path / name, {}).variables for name in ("one", "other"))
    for name in ("SECRET_KEY", "CREDENTIAL_KEYS", "HEALTH_TOKEN", "DEMO_PASSWORD"):
        assert one[name] != other[name]


def test_the_second_start_changes_nothing(path: Path) -> None:
    dotenv.prepare(path, {})
    before = path.read_bytes()
    dotenv.prepare(path, {})
    assert path.read_bytes() == before


def test_a_taken_port_moves_and_the_rest_stays(path: Path) -> None:
    before = dict(dotenv.prepare(path, {}).variables)
    port = int(before["SIMULATOR_CONTROL"].rsplit(":", 1)[1])
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((ports.HOST, port))
        holder.listen()
        after = dict(dotenv.prepare(path, {}).variables)
    assert after["SIMULATOR_CONTROL"] != before["SIMULATOR_CONTROL"]
    assert dotenv.read(path)["SIMULATOR_CONTROL"] == after["SIMULATOR_CONTROL"]
    assert after["SECRET_KEY"] == before["SECRET_KEY"]


@pytest.mark.parametrize(
    "text", ["DEBUG=1\n", "KITE_API_ROOT=https://api.kite.trade\n", "export SECRET_KEY='s'\n"]
)
def test_a_file_that_reaches_real_brokers_is_refused_and_kept(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(dotenv.RealBrokers, match="real broker"):
        dotenv.prepare(path, {})
    assert path.read_text() == text


def test_the_environment_wins_and_is_judged_too(path: Path) -> None:
    with pytest.raises(dotenv.RealBrokers, match="KITE_API_ROOT is https"):
        dotenv.prepare(path, {"KITE_API_ROOT": "https://api.kite.trade"})
    assert not path.exists()


@pytest.mark.parametrize("value", ["1", "true", "on"])
def test_live_trading_is_refused(path: Path, value: str) -> None:
    with pytest.raises(dotenv.RealBrokers, match="LIVE_TRADING"):
        dotenv.prepare(path, {"LIVE_TRADING": value})


def test_a_redis_of_ones_own_is_used(path: Path) -> None:
    prepared = dotenv.prepare(path, {"REDIS_URL": "redis://elsewhere:6379/1"})
    assert prepared.redis_port is None
    assert prepared.variables["REDIS_URL"] == "redis://elsewhere:6379/1"
    assert "REDIS_URL" not in dotenv.read(path)


def test_a_file_of_ones_own_on_this_machine_is_used_and_never_written(path: Path) -> None:
    complete = {
        name: value for name, value in dotenv.prepare(path, {}).variables.items() if name != dotenv.MARK
    }
    text = "".join(f"{name}={value}\n" for name, value in complete.items())
    path.write_text(text)
    assert dotenv.prepare(path, {}).variables["SECRET_KEY"] == complete["SECRET_KEY"]
    assert path.read_text() == text


def test_nothing_that_the_demo_wrote_down_reaches_a_test(path: Path) -> None:
    """Else the tests would fail in a folder in which somebody has tried the demo."""
    assert dotenv.prepare(path, {}).variables.keys() <= VARIABLES.keys()
