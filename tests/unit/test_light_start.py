"""What a process imports at its start is time in which no stop is watched."""

from __future__ import annotations

import subprocess
import sys

from tests.environment import ROOT

OF_THE_PAGES = {"ninja", "pydantic", "daphne.server", "twisted", "project.urls"}
OF_A_BROKER = {"kiteconnect", "dhanhq"}
LOOK = """
import gc, importlib, sys
sys.argv = ["manage.py", "run_listeners", "--help"]
try:
    importlib.import_module("runpy").run_path("manage.py", run_name="__main__")
except SystemExit:
    assert gc.isenabled() and gc.get_freeze_count()
    print(*sys.modules)
"""


def test_listeners_start_without_the_pages_and_without_a_broker_s_sdk():
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=ROOT, capture_output=True, text=True, timeout=50, check=True
    )
    imported = set(done.stdout.split())
    assert "project.runtime" in imported
    assert not imported & (OF_THE_PAGES | OF_A_BROKER)


def test_listeners_run_no_checks_that_load_the_pages():
    from project.management.commands.run_listeners import Command

    assert not Command.requires_system_checks
