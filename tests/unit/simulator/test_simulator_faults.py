from __future__ import annotations

import pytest

from marketdata.simulator.faults import FAULTS, Faults, UnknownFault
from tests.unit.simulator.conftest import ManualClock


@pytest.fixture
def faults(clock: ManualClock) -> Faults:
    return Faults(clock)


def test_strikes_once_unless_told(faults: Faults) -> None:
    faults.arm("lost_reply")
    assert faults.take("lost_reply", "A", "place")
    assert faults.take("lost_reply", "A", "place") is None


def test_strikes_as_often_as_told(faults: Faults) -> None:
    faults.arm("forbid", times=2)
    assert [bool(faults.take("forbid", "A", "feed")) for _ in range(3)] == [True, True, False]


def test_lasts_as_long_as_told(faults: Faults, clock: ManualClock) -> None:
    faults.arm("silence", seconds=5)
    assert [bool(faults.take("silence", "A", "feed")) for _ in range(3)] == [True] * 3
    clock.now += 5
    assert faults.take("silence", "A", "feed") is None
    assert faults.armed() == []


def test_concerns_one_account_and_operation(faults: Faults) -> None:
    faults.arm("cut_before", account="A", operation="cancel")
    assert faults.take("cut_before", "B", "cancel") is None
    assert faults.take("cut_before", "A", "place") is None
    assert faults.take("cut_before", "A", "cancel")


def test_parameters_have_defaults(faults: Faults) -> None:
    assert faults.arm("server_error", booked=True).parameters == {"status": 502, "booked": True}


def test_clearing(faults: Faults) -> None:
    faults.arm("rest")
    faults.arm("latency", delay_s=2)
    faults.clear("rest")
    assert [fault.name for fault in faults.armed()] == ["latency"]
    faults.clear()
    assert faults.armed() == []


def test_unknown_faults_and_parameters_are_refused(faults: Faults) -> None:
    with pytest.raises(UnknownFault, match="unknown fault 'gremlin': there are refuse"):
        faults.arm("gremlin")
    with pytest.raises(UnknownFault, match="fault 'rest' has no parameter delay: it has none"):
        faults.arm("rest", delay=1)


def test_every_fault_says_what_it_does() -> None:
    assert all(kind.what for kind in FAULTS.values())
