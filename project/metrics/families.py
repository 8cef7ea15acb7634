"""Families of samples, made when they are asked for: counting itself knows nothing of Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from marketdata.statistics import BOUNDS_S, Histogram

Labels = Sequence[str]
Sample = tuple[Sequence[str], float]


def counter(name: str, text: str, value: float) -> CounterMetricFamily:
    """Return a counter without labels; ``_total`` is added to its name."""
    return CounterMetricFamily(name, text, value=value)


def counters(name: str, text: str, labels: Labels, samples: Iterable[Sample]) -> CounterMetricFamily:
    """Return a counter for each set of label values."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in samples:
        family.add_metric(values, count)
    return family


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)


def gauges(name: str, text: str, labels: Labels, samples: Iterable[Sample]) -> GaugeMetricFamily:
    """Return a gauge for each set of label values."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def histogram(name: str, text: str, counted: Histogram) -> HistogramMetricFamily:
    """Return a histogram; its buckets count everything up to their bound, as Prometheus wants it."""
    bounds: Iterable[str] = (*map(str, BOUNDS_S), "+Inf")
    return HistogramMetricFamily(
        name,
        text,
        buckets=list(zip(bounds, accumulate(counted.counts), strict=True)),
        sum_value=counted.total_s,
    )
