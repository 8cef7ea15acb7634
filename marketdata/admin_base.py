"""What the admin's pages have in common: journals, history, permissions, badges, timelines."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from simple_history.admin import SimpleHistoryAdmin

from marketdata.domain.sessions import IST

if TYPE_CHECKING:
    Admin = admin.ModelAdmin[Model]
    _History = Admin
else:
    Admin, _History = admin.ModelAdmin, SimpleHistoryAdmin


class ReadOnly(Admin):
    """Shown to people, written by the machine."""

    def has_add_permission(self, request: HttpRequest, *_: Any) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class WithHistory(_History):
    """Shows who changed a row, what and why. Nothing is written back from there."""

    object_history_list_template = "admin/history_list.html"

    def history_form_view(self, *_: Any, **__: Any) -> HttpResponse:
        """Refuse the library's page of one version: a form, and it would read credentials."""
        raise Http404


def may(request: HttpRequest, permission: str) -> bool:
    """Tell whether whoever asks has ``app.permission``."""
    user: Any = request.user
    return bool(user.has_perm(permission))


def badge(kind: str, pk: int, field: str, text: str, tone: str = "quiet") -> SafeString:
    """Return words that the page's script keeps up to date; ``tone``: quiet good busy bad."""
    return format_html(
        '<span class="badge" data-live="{}" data-pk="{}" data-field="{}" data-tone="{}">{}</span>',
        kind, pk, field, tone, text,
    )  # fmt: skip


def moment(at: datetime | None) -> str:
    """Return a moment in IST to the millisecond, as records of trading need it."""
    if at is None:
        return "–"
    local = at.astimezone(IST)
    return f"{local:%d %b %Y %H:%M:%S}.{local.microsecond // 1000:03d} IST"


def timeline(rows: Iterable[tuple[datetime, str, str]]) -> str:
    """Return (at, text, tone), newest first, as a list."""
    lines = format_html_join(
        "",
        '<li data-tone="{}"><time>{}</time> {}</li>',
        ((tone, moment(at), text) for at, text, tone in rows),
    )
    return format_html('<ol class="timeline">{}</ol>', lines) if lines else "Nothing yet."
