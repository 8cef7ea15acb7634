"""A person's broker account: entering it, how its login is, and logging in again."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from marketdata.brokers import registry
from marketdata.forms import AccountForm, TypedLoginForm
from marketdata.hints import hint
from marketdata.logins import LoginError, Logins, is_refused, login_of, moment_text, token_life
from marketdata.models import Broker, BrokerAccount, Subscription
from marketdata.ports import Login
from marketdata.subscriptions import STRATEGY

_WHO = {"client_id", "api_key"}
_PENDING_S = 15 * 60
"""A login that takes longer than this is begun anew."""


class UserRequest(HttpRequest):
    """A request that ``LoginRequiredMiddleware`` has let pass."""

    user: User


@never_cache
@sensitive_post_parameters("api_secret")
@require_http_methods(["GET", "POST"])
def new(request: UserRequest) -> HttpResponse:
    """Enter an account of the user's own; the next page logs it in."""
    form = AccountForm(request.POST or None, instance=BrokerAccount(user=request.user))
    if form.is_valid():
        row = form.save()
        messages.success(request, f"{row} is saved. Now log in at {row.get_broker_display()}.")
        return redirect("broker-account", row.pk)
    return render(
        request, "brokers/form.html", {"form": form, "title": "Add a broker account", **_redirects(request)}
    )


@never_cache
@sensitive_post_parameters("api_secret")
@require_http_methods(["GET", "POST"])
def edit(request: UserRequest, pk: int) -> HttpResponse:
    """Change an account of the user's own; a login of another client or app does not outlive that."""
    row = _own(request, pk)
    title = f"Edit {row}"
    form = AccountForm(request.POST or None, instance=row)
    if form.is_valid() and _is_free(form):
        _save(form)
        messages.success(request, "Saved.")
        return redirect("broker-account", pk)
    return render(
        request,
        "brokers/form.html",
        {"form": form, "title": title, "account": row, **_redirects(request, row)},
    )


@never_cache
@require_GET
def account(request: UserRequest, pk: int) -> HttpResponse:
    """One account: who it is, how its login is, and every way to log in."""
    row = _own(request, pk)
    try:
        ways: Login | None = login_of(row)
    except LoginError:
        ways = None
    context = {
        "account": row,
        "ways": ways,
        "forms": [TypedLoginForm(way) for way in ways.typed] if ways else [],
        "life": token_life(row, timezone.now()),
        "refused": is_refused(row),
        "simulated": row.broker in settings.SIMULATED_BROKERS,
        "callback": _callback(request, row.broker),
    }
    return render(request, "brokers/account.html", context)


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def login(request: UserRequest, pk: int) -> HttpResponse:
    """Leave for the broker's login page, or log in with what was typed (POST)."""
    row = _own(request, pk)
    if request.method == "POST":
        return _by_typing(request, row)
    try:
        ways = login_of(row)
        if not _is_meant(request) or not ways.browser or (ways.typed and "browser" not in request.GET):
            return redirect("broker-account", pk)
        return _leave(request, row)
    except LoginError as exc:
        messages.error(request, str(exc))
        return redirect("broker-account", pk)


@never_cache
@require_POST
def check(request: UserRequest, pk: int) -> HttpResponse:
    """Ask the broker whether the stored token works."""
    row = _own(request, pk)
    try:
        now_known = Logins().check(row)
    except LoginError as exc:
        messages.error(request, str(exc))
    else:
        until = _until(now_known)
        messages.success(
            request, f"{row.get_broker_display()} accepts the login of {_who(row)} until {until}."
        )
    return redirect("broker-account", pk)


@never_cache
@login_not_required
@require_GET
def callback(request: HttpRequest, broker: str) -> HttpResponse:
    """Take what the broker's login page sent the browser back with."""
    if not request.user.is_authenticated:
        # Not through the usual detour: that would carry what the broker sent along in an address.
        messages.error(request, "You were signed out meanwhile: sign in, then log in at the broker again.")
        return redirect("login")
    answer = request.GET.dict()
    pk = _expected(request, broker, answer)
    row = BrokerAccount.objects.filter(pk=pk, broker=broker, user=request.user).first() if pk else None
    if row is None:
        messages.error(
            request, "That login was not begun here, was used already or took too long: begin it again."
        )
        return redirect(settings.LOGIN_REDIRECT_URL)
    try:
        row = Logins().from_browser(row, answer, by=request.user)
    except LoginError as exc:
        messages.error(request, str(exc))
    else:
        messages.success(request, _welcome(row))
    return redirect("broker-account", row.pk)


# --- inside -----------------------------------------------------------------------------------


def _own(request: HttpRequest, pk: int) -> BrokerAccount:
    return get_object_or_404(BrokerAccount, pk=pk, user=request.user)


def _is_free(form: AccountForm) -> bool:
    """Who logs in may change while nothing is armed: the positions looked after are that client's."""
    changed = sorted(_WHO & set(form.changed_data))
    armed = Subscription.objects.filter(account=form.instance, holder__startswith=STRATEGY)
    if not changed or not armed.exists():
        return True
    form.add_error(changed[0], "Stops are armed through this account: stop its strategies first.")
    return False


def _save(form: AccountForm) -> None:
    """Write the changed columns alone: the listeners and logins write others of the same row."""
    row, names = form.instance, list(form.changed_data)
    if _WHO & set(names):
        row.access_token, row.token_expires_at = "", None
        names += ["access_token", "token_expires_at"]
    if names:
        row.save(update_fields=names)
        hint()


def _redirects(request: HttpRequest, row: BrokerAccount | None = None) -> dict[str, Any]:
    """Return what to enter as redirect URL at the account's broker, or at each."""
    brokers = [row.broker] if row else registry.BROKERS
    return {"callbacks": [(Broker(name).label, _callback(request, name)) for name in brokers]}


def _callback(request: HttpRequest, broker: str) -> str:
    # Behind a proxy that speaks TLS, the request does not say which scheme a browser used; the cookie's rule does.
    scheme = "https" if settings.SESSION_COOKIE_SECURE else request.scheme
    return f"{scheme}://{request.get_host()}{reverse('broker-callback', args=[broker])}"


def _is_meant(request: HttpRequest) -> bool:
    """Tell whether a person asked for this, not a page of another site or a browser guessing ahead."""
    foreign = request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}
    return not foreign and "Sec-Purpose" not in request.headers


def _leave(request: HttpRequest, row: BrokerAccount) -> HttpResponse:
    """Go to the broker, and remember which account this browser is logging in, once and not for long."""
    state = secrets.token_urlsafe(24)
    address = Logins().address(row, state)
    request.session[_key(row.broker)] = {
        "account": row.pk,
        "state": state,
        "until": timezone.now().timestamp() + _PENDING_S,
    }
    return redirect(address)


def _expected(request: HttpRequest, broker: str, answer: Mapping[str, str]) -> int | None:
    """Return the account whose login this browser began, and forget it: it answers once."""
    begun = request.session.pop(_key(broker), None)
    if not begun or begun["until"] < timezone.now().timestamp():
        return None
    row = BrokerAccount(broker=broker)
    try:
        browser = login_of(row).browser
    except LoginError:
        return None
    same = hmac.compare_digest(begun["state"].encode(), answer.get("state", "").encode())
    return None if browser is None or (browser.returns_state and not same) else int(begun["account"])


def _key(broker: str) -> str:
    return f"broker-login:{broker}"


def _by_typing(request: UserRequest, row: BrokerAccount) -> HttpResponse:
    try:
        form = _typed_form(request, row)
        if form.is_valid():
            row = Logins().from_form(row, form.way.name, form.cleaned_data, by=request.user)
            messages.success(request, _welcome(row))
        else:
            messages.error(request, form.trouble())
    except LoginError as exc:
        messages.error(request, str(exc))
    return redirect("broker-account", row.pk)


def _typed_form(request: HttpRequest, row: BrokerAccount) -> TypedLoginForm:
    ways = {way.name: way for way in login_of(row).typed}
    name = request.POST.get("way", "")
    if name not in ways:
        raise LoginError("That is not a way to log in here: use one of the forms on this page.")
    return TypedLoginForm(ways[name], request.POST)


def _welcome(row: BrokerAccount) -> str:
    said = f"Logged in as {_who(row)} until {_until(row)}."
    if row.desired_state == BrokerAccount.DesiredState.RUNNING:
        return f"{said} The listener goes on with it within 2 seconds."
    return (
        f"{said} This account's listener is stopped: starting a strategy or watching an instrument starts it."
    )


def _who(row: BrokerAccount) -> str:
    return row.client_id or str(row)


def _until(row: BrokerAccount) -> str:
    return "later" if row.token_expires_at is None else moment_text(row.token_expires_at, timezone.now())
