"""Puts the cockpit in the place of the stock admin site."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class CockpitConfig(AdminConfig):
    default_site = "project.cockpit.site.Cockpit"
