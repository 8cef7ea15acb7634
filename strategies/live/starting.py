"""The page that leads a new user, and the loading of an instrument list from it."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from marketdata.loading import begin_loading
from marketdata.models import BrokerAccount
from marketdata.processlock import AlreadyRunning
from marketdata.views import UserRequest
from strategies.live.firstrun import first_run, has_channel, why_not_load

LOOK_AGAIN_S = 2


@never_cache
@require_GET
def start(request: UserRequest) -> HttpResponse:
    """Show what is done and what comes next; looks again by itself while a list is being loaded."""
    run = first_run(request.user.pk, timezone.now())
    answer = render(request, "live/start.html", {"run": run, "has_channel": has_channel(request.user.pk)})
    if run.is_loading:
        answer.headers["Refresh"] = str(LOOK_AGAIN_S)
    return answer


@require_POST
def load_list(request: UserRequest, pk: int) -> HttpResponse:
    """Load the instrument list of the broker of one of the user's accounts."""
    account = get_object_or_404(BrokerAccount, pk=pk, user=request.user)
    if reason := why_not_load(account.broker, timezone.now()):
        messages.error(request, f"The list was not loaded. {reason}")
        return redirect("start")
    try:
        begin_loading(account.broker, account.pk)
    except AlreadyRunning:
        messages.info(request, "The list is being loaded already.")
    except OSError as exc:
        messages.error(request, f"The list was not loaded: LOCK_DIR cannot be written ({exc.strerror}).")
    return redirect("start")
