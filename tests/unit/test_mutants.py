"""Every evil edit of ``tests/mutants`` can still be made; ``make mutants`` says whether it is noticed."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.run import ROOT, Mutant, mutants


@pytest.mark.parametrize("mutant", mutants(), ids=lambda mutant: mutant.name)
def test_it_applies_and_is_still_python(mutant: Mutant):
    assert not mutant.trouble()
    ast.parse(mutant.edited((ROOT / mutant.file).read_text()))


def test_there_are_enough_of_them():
    assert len(mutants()) >= 25


def test_an_unknown_name_is_refused():
    with pytest.raises(SystemExit, match="no mutant is called nobody"):
        mutants(["nobody"])
