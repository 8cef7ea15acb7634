"""The pages on which a person enters a strategy, changes it, and moves its stop."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from marketdata.models import BrokerAccount
from marketdata.views import UserRequest
from strategies import services
from strategies.live.entry import last_price
from strategies.live.forms import NameForm, OwnStrategyForm, StopForm
from strategies.live.texts import price_text
from strategies.models import Strategy
from strategies.services import StrategyError

_ARMED = "Its stop is armed, so only the name may change here. Move the stop on its own page; for anything else stop it first."


@never_cache
@require_http_methods(["GET", "POST"])
def new(request: UserRequest) -> HttpResponse:
    """Enter a strategy of the user's own."""
    if not BrokerAccount.objects.filter(user=request.user).exists():
        messages.info(request, "First add the broker account that holds the position.")
        return redirect("broker-new")
    blank = Strategy(user=request.user, position=Strategy.Position.BOUGHT)
    form = OwnStrategyForm(request.POST or None, instance=blank)
    if form.is_valid():
        strategy = services.create_strategy(form.save(commit=False), by=request.user)
        messages.success(
            request, f"{strategy} is saved. Its stop is not armed yet: look it over, then press Start."
        )
        return redirect("timeline", strategy.pk)
    return _page(request, form, "New strategy", "Save", hint="Nothing is armed or sold by saving.")


@never_cache
@require_http_methods(["GET", "POST"])
def edit(request: UserRequest, pk: int) -> HttpResponse:
    """Change a strategy: everything while nothing is armed, afterwards its name."""
    strategy = _own(request, pk)
    title = f"Edit {strategy}"
    armed = strategy.status in (Strategy.Status.ACTIVE, Strategy.Status.EXITING)
    kind = NameForm if armed else OwnStrategyForm
    form = kind(request.POST or None, instance=strategy)
    if form.is_valid() and _change(request, form):
        messages.success(request, "Saved.")
        return redirect("timeline", pk)
    return _page(request, form, title, "Save", strategy=strategy, hint=_ARMED if armed else "")


@never_cache
@require_http_methods(["GET", "POST"])
def move_stop(request: UserRequest, pk: int) -> HttpResponse:
    """Move the stop; one that the price has passed is refused."""
    strategy = _own(request, pk)
    old, tick_size = strategy.stop_loss, strategy.instrument.tick_size
    form = StopForm(request.POST or None, instance=strategy)
    if form.is_valid() and _move(request, form):
        messages.success(
            request, f"The stop of {strategy} is {price_text(strategy.stop_loss, tick_size)} now."
        )
        return redirect("timeline", pk)
    facts = [
        ("Last price", price_text(last_price(strategy.symbol), tick_size)),
        ("Stop now", price_text(old, tick_size)),
    ]
    return _page(
        request, form, f"Move the stop of {strategy}", "Move the stop", strategy=strategy, facts=facts
    )


# --- inside -----------------------------------------------------------------------------------


def _own(request: UserRequest, pk: int) -> Strategy:
    own = Strategy.objects.select_related("instrument", "account")
    return get_object_or_404(own, pk=pk, user=request.user)


def _change(request: UserRequest, form: forms.ModelForm[Strategy]) -> bool:
    changes = {name: form.cleaned_data[name] for name in form.changed_data}
    try:
        if changes:
            services.change_strategy(form.instance, changes, by=request.user)
    except StrategyError as exc:
        form.add_error(None, str(exc))
        return False
    return True


def _move(request: UserRequest, form: StopForm) -> bool:
    try:
        if "stop_loss" in form.changed_data:
            services.update_stop(form.instance, form.cleaned_data["stop_loss"], by=request.user)
    except StrategyError as exc:
        form.add_error("stop_loss", str(exc))
        return False
    return True


def _page(
    request: UserRequest,
    form: forms.BaseForm,
    title: str,
    button: str,
    *,
    strategy: Strategy | None = None,
    **more: Any,
) -> HttpResponse:
    context = {"form": form, "title": title, "button": button, "strategy": strategy, **more}
    return render(request, "live/form.html", context)
