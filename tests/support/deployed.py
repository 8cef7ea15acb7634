"""What `deploy/` asks Prometheus for."""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from tests.environment import ROOT

DEPLOY = ROOT / "deploy"
_METRIC = re.compile(r"\b(?:tickguard|process)_[a-z_]+\b")
_LABELS = re.compile(r"\{[^}]*\}")


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    groups = yaml.safe_load((DEPLOY / "tickguard.rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    return found


def expressions() -> list[str]:
    """Return everything that is asked, in Prometheus's own language."""
    targets = [target for panel in dashboard()["panels"] for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + [target["expr"] for target in targets]


def names() -> set[str]:
    """Return the metrics that are asked for."""
    return {name for text in expressions() for name in _METRIC.findall(_LABELS.sub("", text))}
