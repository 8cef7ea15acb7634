#!/usr/bin/env python
"""Tickguard's command line."""

from __future__ import annotations

import gc
import os
import sys

gc.disable()  # until everything is imported (project.apps): nothing of that is garbage

from django.core.management import execute_from_command_line  # noqa: E402

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    execute_from_command_line(sys.argv)
