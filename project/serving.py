from __future__ import annotations

from django.apps import AppConfig


class DaphneConfig(AppConfig):
    """Daphne, without its server and Twisted: those who serve import them, before a reactor can be there.

    Daphne's own configuration has every process do so, for a quarter of a second in which no stop is watched.
    """

    name = "daphne"
    verbose_name = "Daphne"
