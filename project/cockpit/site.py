"""The admin site."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse


class Cockpit(AdminSite):
    """The stock site, with the state of the house above its list of tables."""

    site_header = site_title = "Tickguard"
    index_title = "Cockpit"
    index_template = "admin/cockpit.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the cards, then the tables."""
        from project.cockpit.cards import read_cards  # the site is made before there are models

        return super().index(request, {**(extra_context or {}), "cards": read_cards(request.user)})
