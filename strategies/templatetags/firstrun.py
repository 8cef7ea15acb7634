"""Where a new user stands, for any page."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils import timezone

from strategies.live.firstrun import FirstRun, first_run, is_over

register = template.Library()


@register.simple_tag(takes_context=True)
def first_run_left(context: dict[str, Any]) -> FirstRun | None:
    """Return what is left to do; None once a position was protected."""
    user = context["request"].user
    return None if is_over(user.pk) else first_run(user.pk, timezone.now())
