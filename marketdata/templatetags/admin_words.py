"""How the admin's templates write moments and badges."""

from __future__ import annotations

from django import template

from marketdata.admin_base import badge, moment

register = template.Library()
register.filter("moment", moment)
register.simple_tag(badge, name="badge")
