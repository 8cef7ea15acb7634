from __future__ import annotations

import re

import pytest

from tests.environment import ROOT

NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "docs/specification.md").read_text())))


def test_the_specification_names_tests() -> None:
    assert len(NAMED) > 40


@pytest.mark.parametrize(("file", "name"), NAMED, ids=["::".join(pair) for pair in NAMED])
def test_a_test_named_in_the_specification_exists(file: str, name: str) -> None:
    assert re.search(rf"^\s*(async )?def {name}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE)
