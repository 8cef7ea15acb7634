"""A few cells of the crash-point matrix with every test run; ``make crash`` plays all of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.matrix import DATABASES, FAULTS, POSTGRES, SQLITE, Cell
from tests.support.postgres import needs_postgres
from tests.support.processes import python

pytestmark = pytest.mark.timeout(300)

SMOKE = (
    "CP1:none:restart", "CP2:frozen:take-over", "CP5:429:restart", "CP6:none:stop-continue",
    "CP7:lost-reply:restart", "CP8:hidden:restart", "CP9:partial:restart", "CP11:fill-on-cancel:restart",
    "CP13:resting:restart", "CP16:none:restart", "CP6+CP7:cut-before:restart",
)  # fmt: skip


@pytest.mark.parametrize("database", [SQLITE, pytest.param(POSTGRES, marks=needs_postgres)])
def test_killed_at_a_few_points_nothing_is_doubled_and_nothing_is_lost(database: str, tmp_path: Path) -> None:
    cells = [argument for name in SMOKE for argument in ("--cell", f"{database}:{name}")]
    # A machine that runs other tests as well may be slow to tell; `make crash` holds it to 2 s.
    with python("-m", "tests.crash", *cells, "--alert", "20", "--keep", str(tmp_path)) as run:
        assert run.wait(280) == 0, run.output
    assert f"{len(SMOKE)} cells" in run.output
    assert "0 violated" in run.output
    assert "0 without their crash" in run.output


def test_a_name_that_nobody_knows_is_told_and_ends_with_2() -> None:
    for arguments, said in (
        (("--cell", "sqlite:CP99:none:restart"), "there is no 'CP99'"),
        (("--cell", "sqlite"), "is no cell"),
        (("--faults", "gremlins"), "no fault gremlins"),
        (("--lanes", "0"), "--lanes 0"),
    ):
        with python("-m", "tests.crash", *arguments) as run:
            assert run.wait(60) == 2
        assert said in run.output


def test_a_cell_is_found_again_by_its_name() -> None:
    for name in (f"{DATABASES[0]}:CP1:none:restart", f"{DATABASES[1]}:CP7+CP10:{list(FAULTS)[-1]}:take-over"):
        assert Cell.parse(name).name == name
