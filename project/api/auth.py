"""Who asks: the user whose token came with the request, as often as the token allows."""

from __future__ import annotations

from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils import timezone
from ninja.security.base import AuthBase

from project.api.errors import ApiError
from project.api.limits import check_rate
from project.api.models import ApiToken
from project.api.tokens import find, note_use

READS = frozenset({"GET", "HEAD"})


class ApiRequest(HttpRequest):
    """A request that ``BearerToken`` has let pass."""

    user: User
    auth: ApiToken


class BearerToken(AuthBase):
    """``Authorization: Bearer tg_…``. Never the session: another site's page could use that."""

    openapi_type = "http"
    openapi_scheme = "bearer"

    def __call__(self, request: HttpRequest) -> ApiToken:
        now = timezone.now()
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        token = find(text.strip(), now) if scheme.lower() == "bearer" else None
        if token is None:
            raise _unknown()
        is_write = request.method not in READS
        if is_write and token.read_only:
            raise ApiError(403, "read_only", f"The token {token.name} may only read: use one that may write.")
        check_rate(token.prefix, is_write=is_write, now=now.timestamp())
        note_use(token, now)
        request.user = token.user
        return token


def _unknown() -> ApiError:
    return ApiError(
        401, "not_authenticated",
        "No token that is accepted came with this: send Authorization: Bearer tg_…, made at /api/tokens/. "
        "One that worked before has expired or was revoked, or its user may not log in any more.",
        headers={"WWW-Authenticate": "Bearer"},
    )  # fmt: skip
