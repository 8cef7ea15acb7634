from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st

from marketdata.statistics import BOUNDS_S, Histogram, RateMeter
from project import env
from project.metrics.families import histogram


@given(st.lists(st.tuples(st.floats(-1, 20), st.integers(1, 9))))
def test_buckets_count_what_is_at_most_their_bound(durations: list[tuple[float, int]]) -> None:
    counted = Histogram()
    for seconds, times in durations:
        counted.add(seconds, times)
    samples = {s.labels.get("le", s.name): s.value for s in histogram("h", "text", counted).samples}
    for bound in BOUNDS_S:
        assert samples[str(bound)] == sum(times for seconds, times in durations if seconds <= bound)
    assert samples["+Inf"] == samples["h_count"] == sum(times for _, times in durations)
    assert samples["h_sum"] == pytest.approx(sum(seconds * times for seconds, times in durations))


def test_a_rate_is_of_whole_seconds_that_are_over() -> None:
    rate = RateMeter(5)
    for now, events in ((10.0, 3), (10.9, 2), (11.5, 5), (14.2, 100)):
        rate.count(events, now)
    assert rate.per_second(14.9) == 2.0  # 10 events in the five seconds before 14
    assert rate.per_second(15.0) == 22.0
    assert rate.per_second(16.5) == 21.0
    assert rate.per_second(30.0) == 0.0


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("", None),
        ("9464", ("127.0.0.1", 9464)),
        ("10.0.0.1:1", ("10.0.0.1", 1)),
        ("[::1]:9464", ("::1", 9464)),
    ],
)
def test_where_to_listen(value: str, meant: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_PORT", value)
    assert env.listening_at("METRICS_PORT") == meant


@pytest.mark.parametrize("value", ["no", "0", "65536", "host:", "-1"])
def test_what_is_no_port_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METRICS_PORT", value)
    with pytest.raises(ImproperlyConfigured, match=f"METRICS_PORT='{value}': expected a port, or host:port"):
        env.listening_at("METRICS_PORT")
