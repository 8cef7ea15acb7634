"""The whole house for one test: simulator, Valkey, listeners and, where asked, the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.ports import free_ports
from tests.support.processes import Process, manage, python
from tests.support.simulator import RunningSimulator
from tests.support.valkey import PrivateValkey

HOST = "127.0.0.1"


@dataclass(slots=True)
class House:
    """Real processes that share the test's database; each is stopped when the test ends."""

    simulator: RunningSimulator
    valkey: PrivateValkey
    env: Mapping[str, str]
    stack: ExitStack = field(repr=False)
    processes: list[Process] = field(default_factory=list)  # those of ours, for what they said

    def listeners(self, *arguments: str, env: Mapping[str, str] | None = None) -> Process:
        """Start ``run_listeners``."""
        started = manage("run_listeners", *arguments, env={**self.env, **(env or {})})
        process = self.stack.enter_context(started)
        self.processes.append(process)
        return process

    def web(self) -> str:
        """Start Daphne and return the page's address."""
        [port] = free_ports(1)
        daphne = ("-m", "daphne", "--bind", HOST, "--port", str(port), "project.asgi:application")
        process = self.stack.enter_context(python(*daphne, env=self.env))
        self.processes.append(process)
        process.wait_for("Listening on TCP", timeout=60)
        return f"http://{HOST}:{port}"

    def pids(self) -> list[int]:
        """Return those of all processes that take part, ours and the others."""
        return [self.simulator.pid, self.valkey.pid, *(process.pid for process in self.processes)]

    def import_instruments(self, broker: str = "zerodha") -> None:
        """Load the simulator's instrument list as a user does."""
        with manage("import_instruments", broker, env=self.env) as process:
            assert process.wait(60) == 0, process.output


@contextmanager
def open_house(simulator: RunningSimulator, valkey: PrivateValkey, lock_dir: Path) -> Iterator[House]:
    env = {**simulator.env, "REDIS_URL": valkey.url, "LOCK_DIR": str(lock_dir)}
    with ExitStack() as stack:
        yield House(simulator, valkey, env, stack)
