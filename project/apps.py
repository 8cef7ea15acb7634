from __future__ import annotations

import gc

from django.apps import AppConfig
from django.core import checks


class ProjectConfig(AppConfig):
    name = "project"
    verbose_name = "Tickguard"

    def ready(self) -> None:
        gc.freeze()  # what is imported stays
        gc.enable()  # see manage.py

        from project.checks import calendar_is_filled, daphne_is_current
        from project.storage import durable_storage

        checks.register(daphne_is_current)
        checks.register(calendar_is_filled, checks.Tags.database)
        checks.register(durable_storage, "storage", deploy=True)
