"""Fixtures that every test may use: rows, a private Valkey, the simulator, the whole house."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

import daphne.server  # noqa: F401 - as in the web process: before a Twisted reactor of kiteconnect's can be there
import hypothesis
import pytest
from django.conf import settings
from django.contrib.auth.models import User

from marketdata.models import BrokerAccount, Instrument
from marketdata.simulator import accounts as simulated
from tests.support import databases
from tests.support.house import House, open_house
from tests.support.people import new_user
from tests.support.postgres import NOT_HERE, PROGRAMS, PrivatePostgres, private_postgres
from tests.support.simulator import RunningSimulator, start_simulator
from tests.support.valkey import PrivateValkey, private_valkey

# A machine that does other work beside is slow now and then; that says nothing of the code.
hypothesis.settings.register_profile(
    "shared",
    deadline=None,
    derandomize=True,  # the same examples each time; the thorough profile looks for new ones
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
    print_blob=True,
)
# For a night: PYTEST_ARGS="--hypothesis-profile=thorough --timeout=0".
hypothesis.settings.register_profile(
    "thorough", hypothesis.settings.get_profile("shared"), derandomize=False, max_examples=5_000
)
hypothesis.settings.load_profile("shared")

TOKENS = {"NSE:INFY": "408065", "NSE:RELIANCE": "738561", "NSE:SBIN": "779521"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--no-skips", action="store_true", help="fail when a test was skipped: for CI")
    parser.addoption("--stops", type=int, default=40, help="stops of a worker that is killed")
    parser.addoption("--burst", type=int, default=60, help="stops of one account that a tick touches at once")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests that say something of the database that was chosen."""
    wanted = [item for item in items if databases.is_wanted(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted


def pytest_sessionstart(session: pytest.Session) -> None:
    if databases.IS_MISSING:
        is_failure = session.config.getoption("--no-skips")
        pytest.exit(f"SKIPPED: the same tests on PostgreSQL: {NOT_HERE}", returncode=int(is_failure))


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return  # one of several workers: the process that hands out the tests reports
    if session.config.getoption("--no-skips") and reporter.stats.get("skipped"):
        reporter.write_line("--no-skips: every test must run here; see the skips below", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if databases.ON_POSTGRES and session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        session.exitstatus = pytest.ExitCode.OK  # nothing chosen uses the database


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Use the database of ``tests.environment`` by its own name, so that other processes find it."""
    settings.DATABASES["default"]["TEST"]["NAME"] = settings.DATABASES["default"]["NAME"]


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Leave the database where it is: its file or server goes as a whole when the run ends."""
    return True


@pytest.fixture
def user(db: None) -> User:
    return new_user("trader", "trader@example.com")


@pytest.fixture
def account(user: User) -> BrokerAccount:
    """An account of ``user`` with credentials that only the simulator knows."""
    return BrokerAccount.objects.create(
        user=user, broker="zerodha", name="Test", client_id=simulated.DEMO_CLIENT_ID,
        api_key=simulated.DEMO_API_KEY, api_secret=simulated.DEMO_API_SECRET,
        access_token=simulated.DEMO_ACCESS_TOKEN,
    )  # fmt: skip


@pytest.fixture
def instruments(db: None) -> Mapping[str, Instrument]:
    """Three equities by symbol, with the tokens they really have."""
    rows = [
        Instrument(
            broker="zerodha", exchange=symbol.split(":")[0], tradingsymbol=symbol.split(":")[1],
            token=token, tick_size=Decimal("0.05"),
        )
        for symbol, token in TOKENS.items()
    ]  # fmt: skip
    return {row.symbol: row for row in Instrument.objects.bulk_create(rows)}


@pytest.fixture
def valkey() -> Iterator[PrivateValkey]:
    """A server of the test's own, to be killed or frozen at will."""
    with private_valkey() as server:
        yield server


@pytest.fixture
def postgres() -> Iterator[PrivatePostgres]:
    """A durable PostgreSQL of the test's own, to be killed or frozen at will; skips without one."""
    if PROGRAMS is None:
        pytest.skip(NOT_HERE)
    with private_postgres() as server:
        yield server


@pytest.fixture
def lock_dir(tmp_path: Path) -> Path:
    """A ``LOCK_DIR`` of the test's own, so that its processes meet no other test's."""
    path = tmp_path / "locks"
    path.mkdir()
    return path


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[RunningSimulator]:
    """The real simulator; prices move only where the test says so."""
    with start_simulator(tmp_path) as running:
        yield running


@pytest.fixture
def house(
    transactional_db: None, simulator: RunningSimulator, valkey: PrivateValkey, lock_dir: Path
) -> Iterator[House]:
    """Everything but the processes of ours, which the test starts; see ``tests.support.house``."""
    with open_house(simulator, valkey, lock_dir) as whole:
        yield whole
