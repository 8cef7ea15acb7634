"""One process of a kind: a lock that the kernel lets go of when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from marketdata.processes import ProcessId, boot

_NAME_MAX = 256


class AlreadyRunning(Exception):
    """Another process holds the lock; the text names it, ``holder`` is None where it cannot be named."""

    def __init__(self, path: Path, holder: ProcessId | None) -> None:
        super().__init__(f"process {holder.pid if holder else 'unknown'} holds {path}")
        self.holder = holder


class ProcessLock:
    """Held from :meth:`acquire` to :meth:`release`, or to the process's end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    @property
    def is_held(self) -> bool:
        """Tell whether this object has the lock, and nobody has put another file in its place."""
        return self._file is not None and self._is_in_place(self._file)

    def acquire(self) -> None:
        """Take the lock, and write this process's name into it for whoever is refused.

        Raises:
            AlreadyRunning: Somebody else holds it.
            OSError: The directory cannot be written.

        """
        self.release()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while self._file is None:
            file = self._lock()
            if self._is_in_place(file):
                self._file = file
            else:  # removed between opening and locking: others see another file
                os.close(file)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{ProcessId.own()}\n".encode(), 0)

    def release(self) -> None:
        """Let go. Safe to call twice."""
        if self._file is not None:
            os.ftruncate(self._file, 0)  # the next holder must never be taken for this process
            os.close(self._file)
            self._file = None

    def _lock(self) -> int:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = ProcessId.parse(os.pread(file, _NAME_MAX, 0).decode(errors="replace"))
            os.close(file)
            raise AlreadyRunning(self._path, holder) from None
        return file

    def _is_in_place(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False


def place(folder: Path) -> str:
    """Return a name of a lock directory that only processes which share its locks arrive at.

    Raises:
        OSError: It does not exist, or cannot be read.

    """
    status = folder.stat()
    return f"{boot()}:{status.st_dev:x}:{status.st_ino:x}"
