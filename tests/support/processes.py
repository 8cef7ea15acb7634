"""Other processes of a test: started with their environment, read line by line, always stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.environment import ROOT
from tests.support.waiting import eventually


class Process:
    """A running child. Its output, standard error included, gathers in ``lines``."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], folder: Path = ROOT) -> None:
        self.command = list(command)
        self.lines: list[str] = []
        self._is_read = True
        # Its own session: a signal to its group reaches its children, and never us.
        self._child = subprocess.Popen(
            self.command,
            cwd=folder,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._child.poll()

    def wait_for(self, text: str, timeout: float = 60.0) -> str:
        """Return the first line that holds ``text``.

        Raises:
            AssertionError: It did not come in time.
            RuntimeError: The process ended before it; shows its output.

        """

        def line() -> str | None:
            ended = not self._reader.is_alive()  # looked at first: its last lines are then in
            found = next((line for line in list(self.lines) if text in line), None)
            if found is None and ended:
                raise RuntimeError(f"{self.command} ended before {text!r}:\n{self.output}")
            return found

        return eventually(line, timeout) or ""

    def wait(self, timeout: float = 30.0) -> int:
        """Return the exit code once it has ended by itself."""
        try:
            code = self._child.wait(timeout)
        except subprocess.TimeoutExpired as exc:
            raise AssertionError(f"{self.command} still runs after {timeout} s:\n{self.output}") from exc
        self._reader.join(5)
        return code

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    def stop(self, timeout: float = 30.0) -> int:
        """Ask it to end (SIGTERM) and return its exit code."""
        self.send(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self) -> None:
        """End it and its children at once (SIGKILL)."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait(10)

    def stop_reading(self) -> None:
        """Go away as `head` does: the next line it reads is the last, its own next write fails."""
        self._is_read = False
        self._reader.join(30)
        assert self._child.stdout is not None
        self._child.stdout.close()

    def close(self) -> None:
        if self.returncode is None:
            self.kill()
        self._reader.join(5)
        if self._child.stdout:
            self._child.stdout.close()

    def _read(self) -> None:
        assert self._child.stdout is not None
        with suppress(ValueError):  # closed under us at the end
            for line in self._child.stdout:
                self.lines.append(line.rstrip("\n"))
                if not self._is_read:
                    return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is not None:
            print(f"--- output of {' '.join(self.command)}\n{self.output}")  # noqa: T201 - pytest shows it


@contextmanager
def manage(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run ``manage.py ARGUMENTS`` with ``env`` over the tests' own; it is gone afterwards."""
    with python("manage.py", *arguments, env=env) as process:
        yield process


@contextmanager
def python(*arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Process]:
    """Run this Python with ``arguments`` in the project's folder; it is gone afterwards."""
    command = [sys.executable, "-u", *arguments]
    with Process(command, {**os.environ, **(env or {})}) as process:
        yield process
