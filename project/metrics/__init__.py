"""What Prometheus is told: of ``run_listeners`` from memory, of the installation from its rows."""

from __future__ import annotations
