"""What ``run_listeners`` processes are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from marketdata.processlock import AlreadyRunning
from project.workers import BadWorkerName, claim


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    claims = [claim(tmp_path / "made", "web1", alone=False) for _ in range(3)]
    assert [name for _, name in claims] == ["web1", "web1-2", "web1-3"]
    claims[1][0].release()
    again = claim(tmp_path / "made", "web1", alone=False)
    assert again[1] == "web1-2"
    for lock, _ in [*claims, again]:
        lock.release()


def test_alone_means_alone_under_any_name(tmp_path: Path) -> None:
    lock, name = claim(tmp_path, "one", alone=True)
    assert name == "one"
    with pytest.raises(AlreadyRunning, match=r"process \d+ holds .*listeners.lock"):
        claim(tmp_path, "another", alone=True)
    lock.release()


@pytest.mark.parametrize("name", ["", " ", "a/b", "..\\x", "x" * 61, "über", "a b"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_name_that_cannot_be_used_is_refused(tmp_path: Path, name: str, *, alone: bool) -> None:
    with pytest.raises(BadWorkerName, match="cannot be used"):
        claim(tmp_path, name, alone=alone)
    assert not list(tmp_path.iterdir())
