"""The API put together."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from itertools import chain
from typing import Any

from ninja import NinjaAPI
from ninja.errors import ValidationError, ValidationErrorContext

from project.api.auth import ApiRequest, BearerToken
from project.api.errors import ApiError, StrictParser, handle_errors
from project.api.routes import alerts, events, exits, instruments, listeners, quotes, status, strategies


class Api(NinjaAPI):
    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> ValidationError:
        """Keep what was sent: a refusal names the value."""
        refused = super().validation_error_from_error_contexts(error_contexts)
        found = (context.pydantic_validation_error.errors() for context in error_contexts)
        for told, error in zip(refused.errors, chain.from_iterable(found), strict=True):
            told["input"] = error["input"]
        return refused


api = Api(
    title="Tickguard",
    version="1",
    urls_namespace="api",
    auth=BearerToken(),
    parser=StrictParser(),
    openapi_url=None,
    docs_url=None,
)


def _know_the_query(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse what stands in an address and means nothing: a typing error must not pass for "all"."""

    @wraps(operation)
    def checked(request: ApiRequest, *args: Any, **known: Any) -> Any:
        for name in request.GET:
            if name not in known:
                text = f"{name[:80]} in the address is not known here: see /api/docs for what is."
                raise ApiError(422, "invalid", text, name[:80])
        return operation(request, *args, **known)

    return checked


handle_errors(api)
api.add_decorator(_know_the_query)
api.add_router("", status.router)
api.add_router("", events.router)
api.add_router("/listeners", listeners.router)
api.add_router("/instruments", instruments.router)
api.add_router("/strategies", strategies.router)
api.add_router("/exits", exits.router)
api.add_router("/alerts", alerts.router)
api.add_router("/quotes", quotes.router)
