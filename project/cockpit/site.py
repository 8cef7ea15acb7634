"""The admin site."""

from __future__ import annotations

from django.contrib.admin import AdminSite


class Cockpit(AdminSite):
    """The stock site, with the state of the house above its list of tables."""

    site_header = site_title = "Tickguard"
    index_title = "Cockpit"
