"""The page on which a person makes tokens and takes them back. Works without scripts."""

from __future__ import annotations

from datetime import timedelta

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from marketdata.secret import Secret
from marketdata.views import UserRequest
from project.api.models import ApiToken
from project.api.tokens import NameTaken, issue

_FIELD = {"class": "field", "autocomplete": "off"}


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=60,
        widget=forms.TextInput({**_FIELD, "placeholder": "my-robot"}),
        error_messages={"required": "Say what it is for."},
    )
    lasts = forms.TypedChoiceField(
        choices=[
            ("30", "30 days"),
            ("90", "90 days"),
            ("365", "a year"),
            ("", "as long as I do not revoke it"),
        ],
        coerce=int,
        empty_value=None,
        required=False,
        initial="90",
        widget=forms.Select(_FIELD),
    )
    read_only = forms.BooleanField(required=False)


@never_cache
@require_http_methods(["GET", "POST"])
def tokens(request: UserRequest) -> HttpResponse:
    """List the user's tokens, and make one; its secret is in the answer to that and nowhere else."""
    form = TokenForm(request.POST or None)
    made = _made(request, form) if form.is_valid() else None
    context = {
        "form": TokenForm() if made else form,
        "made": made[0] if made else None,
        "secret": made[1].reveal() if made else "",
        "tokens": ApiToken.objects.filter(user=request.user).order_by("pk"),
        "now": timezone.now(),
    }
    return render(request, "api/tokens.html", context)


@require_POST
def revoke(request: UserRequest, pk: int) -> HttpResponse:
    """Take a token back: it lets nobody in from now on."""
    token = get_object_or_404(ApiToken, pk=pk, user=request.user)
    token.delete()
    messages.success(request, f"{token.name} was revoked: it lets nobody in any more.")
    return redirect("api-tokens")


def _made(request: UserRequest, form: TokenForm) -> tuple[ApiToken, Secret] | None:
    said = form.cleaned_data
    lasts = timedelta(days=said["lasts"]) if said["lasts"] else None
    try:
        return issue(request.user, said["name"], timezone.now(), lasts=lasts, read_only=said["read_only"])
    except NameTaken as exc:
        form.add_error("name", str(exc))
        return None
