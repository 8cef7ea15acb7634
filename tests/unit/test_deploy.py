"""What can be said of `deploy/` without a Prometheus; its names meet a real scrape in `e2e/test_watching_over.py`."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands

from tests.environment import VARIABLES
from tests.support import deployed

KNOWN = {
    "histogram_quantile", "sum", "max", "by", "rate", "increase", "le", "up",
    "instance", "broker", "account", "reason", "outcome", "urgency", "job",
}  # fmt: skip
EXPRESSIONS = deployed.expressions()


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_is_well_formed(text: str) -> None:
    depth = 0
    for mark in re.findall(r"[()]", text):
        depth += 1 if mark == "(" else -1
        assert depth >= 0
    assert depth == 0
    for opening, closing in ("{}", "[]"):
        assert text.count(opening) == text.count(closing)
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]|\b(?:tickguard|process)_\w+', "", text)
    assert set(re.findall(r"[a-z_]{2,}", bare)) <= KNOWN


def test_every_rule_says_how_grave_it_is_and_what_happened() -> None:
    rules = deployed.rules()
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 10
    for rule in rules:
        assert rule["labels"]["severity"] in ("page", "warn")
        assert rule["annotations"]["summary"].endswith(".")
        assert re.fullmatch(r"\d+[sm]", rule.get("for", "0s"))


def test_panels_are_different_and_inside_the_dashboard() -> None:
    panels = deployed.dashboard()["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len({panel["id"] for panel in panels}) == len(set(places)) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_what_is_scraped_is_what_the_rules_are_about() -> None:
    scraped = yaml.safe_load((deployed.DEPLOY / "prometheus.yml").read_text())
    jobs = {job["job_name"] for job in scraped["scrape_configs"]}
    assert {name for text in EXPRESSIONS for name in re.findall(r'job="([^"]+)"', text)} == jobs
    assert scraped["rule_files"] == ["tickguard.rules.yml"]


@pytest.mark.parametrize("unit", sorted(deployed.DEPLOY.glob("*.service")), ids=lambda path: path.name)
def test_a_unit_starts_again_what_ended_whatever_ended_it(unit: Path) -> None:
    parsed = ConfigParser(strict=False, interpolation=None)
    parsed.read_string(unit.read_text())
    assert parsed["Service"]["Restart"] == "always"
    assert parsed["Unit"]["StartLimitIntervalSec"] == "0"
    assert "WatchdogSec" not in parsed["Service"]
    commands = [parsed["Service"].get(name, "") for name in ("ExecStart", "ExecStartPre")]
    for command in re.findall(r"manage\.py (\w+)", " ".join(commands)):
        assert command in get_commands()


def test_the_compose_file_names_what_there_is() -> None:
    services = yaml.safe_load((deployed.DEPLOY / "compose.yaml").read_text())["services"]
    ours = [service for service in services.values() if service.get("image") == "tickguard"]
    known = set(VARIABLES)
    for service in ours:
        assert set(service["environment"]) <= known
        assert (deployed.DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        asked = re.findall(r"manage\.py[ ,]+(\w+)", re.sub(r"[\"']", "", str(service["command"])))
        assert asked
        assert set(asked) <= set(get_commands())
    assert {name for service in ours for name in service["depends_on"]} <= set(services)
    used = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])}
    assert used == {"locks", "database"}
