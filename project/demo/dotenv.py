"""The ``.env`` of the demo: written once with fresh keys, and never over a real one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography.fernet import Fernet

from marketdata.brokers import registry
from marketdata.brokers.endpoints import Endpoint
from project import env
from project.demo import ports

HEADING = """\
# Written by `make run`, with keys of its own: a demo against a simulated exchange on this machine.
# For live use see "Live use" in README.md; the environment wins over this file.
"""
CONTROL_PORT = 8901
BROKER_PORT = 8902
REDIS_PORT = 6390
MARK = "DEMO"


class RealBrokers(Exception):
    """What is configured here is not a demo; the text says which setting tells so."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the processes need to know: ``variables`` go into their environment."""

    variables: Mapping[str, str]
    redis_port: int | None  # where the embedded server has to listen; None: REDIS_URL is somebody's own


def read(path: Path) -> dict[str, str]:
    """Return the variables of a ``.env`` file; none when there is no file."""
    if not path.is_file():
        return {}
    lines = (line.strip() for line in path.read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip().removeprefix("export "): value.strip().strip("'\"") for name, _, value in pairs}


def prepare(path: Path, environment: Mapping[str, str]) -> Prepared:
    """Write ``path`` where there is none, complete it where it is ours, and return what applies.

    Raises:
        RealBrokers: A file or an environment that reaches real brokers, or allows live trading.

    """
    found = read(path)
    ours = not path.exists() or MARK in found
    wanted = {**_fresh(), **found} if ours else found
    if ours:
        wanted |= _endpoints(wanted, environment)
    refuse_real_brokers({**wanted, **_set(environment)})
    wanted, redis_port = _redis(wanted, environment)
    if ours and wanted != found:
        write(path, wanted)
    return Prepared({**wanted, **_set(environment)}, redis_port)


def demo_password() -> str:
    """Return the demo user's password: the one in ``.env``, or one for this run."""
    return os.environ.get("DEMO_PASSWORD") or secrets.token_urlsafe(9)


def write(path: Path, variables: Mapping[str, str]) -> None:
    """Replace ``path`` in one step by a file that only its owner can read."""
    text = HEADING + "".join(f"{name}={value}\n" for name, value in variables.items())
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def refuse_real_brokers(variables: Mapping[str, str]) -> None:
    """Raise ``RealBrokers`` unless every broker is on this machine and live trading is off."""
    for endpoint in _all_endpoints():
        root = variables.get(endpoint.variable) or endpoint.default
        if not env.is_loopback(root):
            raise RealBrokers(
                f"{endpoint.variable} is {root}, a real broker: the demo only runs against its own simulator. "
                'Start the processes as README.md says under "Live use", or move .env away for a demo.'
            )
    if variables.get("LIVE_TRADING", "").lower() in ("1", "true", "yes", "on"):
        raise RealBrokers("LIVE_TRADING is on: unset it to run the demo.")


def _fresh() -> dict[str, str]:
    return {
        MARK: "1",
        "DEBUG": "1",
        "SECRET_KEY": secrets.token_urlsafe(50),
        "CREDENTIAL_KEYS": Fernet.generate_key().decode(),
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        "HEALTH_TOKEN": secrets.token_urlsafe(24),
        "MARKET_HOURS": "always",
        "DEMO_PASSWORD": secrets.token_urlsafe(9),
    }


def _endpoints(found: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Return the simulator's roots, on the ports of before where those are still free."""
    taken: list[int] = []
    control = _port(found.get("SIMULATOR_CONTROL"), CONTROL_PORT, taken)
    roots = {"SIMULATOR_CONTROL": f"http://{ports.HOST}:{control}"}
    for broker in registry.BROKERS:
        endpoints = registry.endpoints(broker)
        port = _port(found.get(endpoints["api"].variable), BROKER_PORT, taken)
        roots |= _simulated(endpoints, port)
    return {name: root for name, root in roots.items() if not environment.get(name)}


def _simulated(endpoints: Mapping[str, Endpoint], port: int) -> dict[str, str]:
    """Return one broker's roots on one port; two that would be the same differ by a path of their role."""
    roots: dict[str, str] = {}
    for role, endpoint in endpoints.items():
        host = f"{endpoint.schemes[-1]}://{ports.HOST}:{port}"
        root = host + urlsplit(endpoint.default).path
        roots[endpoint.variable] = f"{host}/{role}" if root in roots.values() else root
    return roots


def _redis(wanted: dict[str, str], environment: Mapping[str, str]) -> tuple[dict[str, str], int | None]:
    url = wanted.get("REDIS_URL")
    if environment.get("REDIS_URL") or (url and not wanted.get("EMBEDDED_REDIS")):
        return wanted, None
    port = _port(url, REDIS_PORT, [])
    return {**wanted, "EMBEDDED_REDIS": "1", "REDIS_URL": f"redis://{ports.HOST}:{port}/0"}, port


def _port(url: str | None, otherwise: int, taken: list[int]) -> int:
    port = ports.choose((urlsplit(url).port if url else None) or otherwise, taken)
    taken.append(port)
    return port


def _all_endpoints() -> Iterable[Endpoint]:
    return [endpoint for broker in registry.BROKERS for endpoint in registry.endpoints(broker).values()]


def _set(environment: Mapping[str, str]) -> dict[str, str]:
    """Return what is set: an empty variable counts as none, as it does in ``project.env``."""
    return {name: value for name, value in environment.items() if value}
