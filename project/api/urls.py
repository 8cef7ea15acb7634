"""The API's addresses. Those below ``v1/`` know tokens only; the others are pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, include, path
from django.views.decorators.csrf import csrf_exempt

from project.api import openapi, pages
from project.api.errors import ApiError, no_such_address
from project.api.v1 import api


def _for_programs(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Leave logins to tokens, keep answers out of caches, and say "wrong method" in JSON."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        if isinstance(response, HttpResponseNotAllowed):
            allowed = response["Allow"]
            text = f"{request.method} is not for {request.path}: use {allowed}."
            response = ApiError(405, "wrong_method", text, headers={"Allow": allowed}).response()
        response["Cache-Control"] = "no-store"
        return response

    return login_not_required(answered)


def _v1() -> list[URLPattern]:
    patterns = [pattern for pattern in api.urls[0] if isinstance(pattern, URLPattern)]
    for pattern in patterns:
        pattern.callback = _for_programs(pattern.callback)
    return [*patterns, path("<path:rest>", _for_programs(csrf_exempt(no_such_address)))]


urlpatterns = [
    path("v1/", include((_v1(), "ninja"), namespace="api")),
    path("docs", openapi.docs, name="api-docs"),
    path("openapi.json", login_not_required(openapi.openapi_json), name="api-openapi"),
    path("tokens/", pages.tokens, name="api-tokens"),
    path("tokens/<int:pk>/revoke/", pages.revoke, name="api-token-revoke"),
]
