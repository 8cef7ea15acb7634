"""``/metrics`` of the web process: what the rows tell, and how the process itself is."""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

from marketdata.wanted import read_calendar
from project.health import who_asks
from project.metrics.rows import RowMetrics

_registry = CollectorRegistry(auto_describe=False)
_registry.register(RowMetrics(timezone.now, lambda: read_calendar(always=settings.MARKET_HOURS == "always")))
ProcessCollector(registry=_registry)


@login_not_required
@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer staff and whoever has HEALTH_TOKEN: the figures are everybody's together."""
    may_see, only_user = who_asks(request)
    if not may_see or only_user is not None:
        text = "Metrics are for staff, or with Authorization: Bearer HEALTH_TOKEN.\n"
        return HttpResponse(text, status=403, content_type="text/plain; charset=utf-8")
    return HttpResponse(generate_latest(_registry), content_type=CONTENT_TYPE_LATEST)
