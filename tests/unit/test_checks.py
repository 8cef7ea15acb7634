from __future__ import annotations

import pytest
from django.core import checks

from project.checks import daphne_problems


@pytest.mark.parametrize("installed", ["4.0.0", "4.2.3", "10.1"])
def test_a_current_daphne_is_accepted(installed: str) -> None:
    assert daphne_problems(installed) == []


@pytest.mark.parametrize("installed", ["3.0.2", "2.5.0"])
def test_an_old_daphne_is_refused_with_the_reason(installed: str) -> None:
    [problem] = daphne_problems(installed)
    assert problem.id == "project.E001"
    assert problem.level == checks.ERROR
    assert installed in problem.msg
    assert "make install" in str(problem.hint)


def test_the_check_is_registered_and_passes_here() -> None:
    assert checks.run_checks(app_configs=None) == []
