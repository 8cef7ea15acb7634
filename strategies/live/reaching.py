"""The page on which a person says how alerts reach them: their channels, each with a button that tries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from marketdata.views import UserRequest
from strategies.channels import BadTarget, ChannelError
from strategies.live.forms import dress
from strategies.models import AlertChannel, AlertDelivery
from strategies.personal import channel_of
from strategies.targets import refuse_private, service_of
from strategies.telling import Telling

if TYPE_CHECKING:
    _ChannelModelForm = forms.ModelForm[AlertChannel]
else:
    _ChannelModelForm = forms.ModelForm

MAX_CHANNELS = 10
_TEST = "This is a test from Tickguard. If you can read it, alerts reach you here."


class ChannelForm(_ChannelModelForm):
    """One channel. The stored address is never shown again."""

    url = forms.CharField(
        label="Address",
        max_length=1000,
        error_messages={"required": "Type the address, such as tgram://BOT_TOKEN/CHAT_ID."},
    )

    class Meta:
        model = AlertChannel
        fields = ("name", "url", "urgent_only", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["url"] = ""
        self.fields["url"].required = not self.instance.pk
        self.fields["url"].help_text = (
            "Leave it empty to keep what is stored." if self.instance.pk else "How to write it stands below."
        )
        for field in self.fields.values():
            dress(field)

    def clean_url(self) -> str:
        """Refuse what apprise does not know, and what could lead into this server's own network."""
        url = str(self.cleaned_data["url"]).strip()
        if url:
            try:
                refuse_private(url, is_staff=self.instance.user.is_staff)
            except BadTarget as exc:
                raise forms.ValidationError(f"The address {exc}.") from None
        return url

    def save(self, commit: bool = True) -> AlertChannel:
        """Remember what the service is called, so that no list needs the address."""
        if url := self.cleaned_data["url"]:
            self.instance.service = service_of(url)
        return super().save(commit)


@never_cache
@sensitive_post_parameters("url")
@require_http_methods(["GET", "POST"])
def channels(request: UserRequest) -> HttpResponse:
    """List the user's channels, and take a new one."""
    rows = list(AlertChannel.objects.filter(user=request.user).defer("url").order_by("pk"))
    form = ChannelForm(request.POST or None, instance=AlertChannel(user=request.user))
    if len(rows) >= MAX_CHANNELS and form.is_bound:
        form.add_error(None, f"{MAX_CHANNELS} channels are the most: change or delete one.")
    if form.is_valid():
        row = form.save()
        messages.success(request, f"{row} is saved. Press Send a test to see that it reaches you.")
        return redirect("alert-channels")
    context = {"form": form, "rows": [_shown(row) for row in rows], "shared": len(settings.ALERT_URLS)}
    return render(request, "live/channels.html", context)


@never_cache
@sensitive_post_parameters("url")
@require_http_methods(["GET", "POST"])
def channel(request: UserRequest, pk: int) -> HttpResponse:
    """Change one of the user's channels."""
    row = _own(request, pk)
    title = f"Edit {row}"
    form = ChannelForm(request.POST or None, instance=row)
    if form.is_valid():
        form.save()
        messages.success(request, "Saved.")
        return redirect("alert-channels")
    return render(request, "live/channel.html", {"form": form, "row": row, "title": title})


@require_POST
def delete(request: UserRequest, pk: int) -> HttpResponse:
    """Forget a channel and its address."""
    row = _own(request, pk)
    AlertDelivery.objects.filter(channel=row.delivery_name).update(next_at=None)
    row.delete()
    messages.success(request, f"{row} is deleted.")
    return redirect("alert-channels")


@require_POST
def test(request: UserRequest, pk: int) -> HttpResponse:
    """Send a test, and tell how it went in the channel's own words. Blocks for some seconds at most."""
    row = _own(request, pk)
    body = {"kind": "test", "text": _TEST, "at": timezone.now().timestamp(), "urgency": "info"}
    try:
        channel_of(row).tell([Telling(request.user.pk, request.user.get_username(), body)])
    except ChannelError as exc:
        messages.error(request, f"{row} did not take the test. It says: {exc}")
    else:
        messages.success(request, f"{row} took the test. Look whether it arrived.")
    return redirect("alert-channels")


def _own(request: UserRequest, pk: int) -> AlertChannel:
    return get_object_or_404(AlertChannel.objects.select_related("user"), pk=pk, user=request.user)


def _shown(row: AlertChannel) -> dict[str, Any]:
    """Return a channel with how the last alert got through it."""
    told = AlertDelivery.objects.filter(channel=row.delivery_name)
    last = told.filter(delivered_at__isnull=False).order_by("-delivered_at").first()
    failing = told.exclude(error="").filter(next_at__isnull=False).order_by("-pk").first()
    return {"channel": row, "last": last, "failing": failing}
