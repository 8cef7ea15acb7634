"""Where the admin's socket is."""

from __future__ import annotations

from typing import Any

from django.urls import path

from project.cockpit.consumer import CockpitConsumer

# Any: Django's types know views only, and Channels routes applications with the same patterns.
_cockpit: Any = CockpitConsumer.as_asgi()
cockpit_urlpatterns: list[Any] = [path("ws/admin/", _cockpit)]
