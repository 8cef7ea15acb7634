"""All processes of the demo under honcho: they start together and end together."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from honcho.manager import Manager
from honcho.printer import Printer

INTERRUPTED = (130, 143)  # honcho's words for SIGINT and SIGTERM: a person asked


class Output:
    """Standard output whose reader may go away (`make run | head`): everything then stops.

    honcho would fail at the next line and leave its children running.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except OSError:
            self._stop()

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError:
            self._stop()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def _stop(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)
        os.kill(os.getpid(), signal.SIGTERM)


def commands(web_port: int, redis_port: int | None) -> dict[str, Sequence[str]]:
    """Return each process's command line by name."""
    manage = (sys.executable, "manage.py")
    daphne = (sys.executable, "-m", "daphne", "--bind", "127.0.0.1", "--port", str(web_port))
    redis = (*manage, "embedded_redis", "--port", str(redis_port))
    return {
        **({"redis": redis} if redis_port else {}),
        "simulator": (*manage, "run_simulator"),
        "listeners": (*manage, "run_listeners"),
        # The pings drop a browser that vanished within 15 s instead of 50.
        "web": (*daphne, "--ping-interval", "5", "--ping-timeout", "10", "project.asgi:application"),
        "demo": (*manage, "demo", "--url", f"http://127.0.0.1:{web_port}/"),
    }


def run(processes: Mapping[str, Sequence[str]], variables: Mapping[str, str]) -> int:
    """Run them until one ends or a person interrupts; return 0 only for the latter."""
    manager = Manager(Printer(Output(sys.stdout)))
    for name, command in processes.items():
        manager.add_process(name, _leashed(command, os.getpid()), env=dict(variables))
    manager.loop()
    if manager.returncode in INTERRUPTED:
        return 0
    print("One of the processes ended, so all were stopped: see its last lines above.", file=sys.stderr)
    return 1


def _leashed(command: Sequence[str], parent: int) -> str:
    """Return a shell line that runs ``command`` and ends it when ``parent`` is gone, killed or not.

    honcho's children outlive a honcho that was killed; `exec` keeps the shell's own id, ``$$``.
    """
    leash = f"while kill -0 {parent} && kill -0 $$; do sleep 1; done; kill $$"
    return f"({leash}) >/dev/null 2>&1 </dev/null & exec {shlex.join(command)}"
