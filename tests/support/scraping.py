"""What a Prometheus would get from an address."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.error import HTTPError

from prometheus_client.parser import text_string_to_metric_families

BEARER = {"Authorization": "Bearer tests-health-token"}


@dataclass(frozen=True, slots=True)
class Scrape:
    """Samples by name and labels."""

    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    @property
    def names(self) -> set[str]:
        return {name for name, _ in self.samples}

    def __call__(self, name: str, **labels: str) -> float:
        """Return one sample's value; raises ``KeyError``."""
        return self.samples[name, frozenset(labels.items())]

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Return the samples of a name by one of their labels."""
        return {
            dict(labels)[label]: value for (found, labels), value in self.samples.items() if found == name
        }


def scrape(address: str, headers: Mapping[str, str] = BEARER) -> Scrape:
    """Return what ``address``/metrics tells."""
    text = get(f"{address}/metrics", headers)
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return Scrape({(found.name, frozenset(found.labels.items())): found.value for found in samples})


def get(url: str, headers: Mapping[str, str]) -> str:
    request = urllib.request.Request(url, headers=dict(headers))  # noqa: S310 - the test's own server
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return str(answer.read().decode())


def refused(url: str, headers: Mapping[str, str]) -> int:
    """Return the status with which ``url`` is refused."""
    try:
        get(url, headers)
    except HTTPError as exc:
        with exc:
            return exc.code
    raise AssertionError(f"{url} was answered")
