"""Every refusal in one shape: ``{"error": {"code", "message"}}``, with ``field`` where one is to blame."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError, ValidationError
from ninja.parser import Parser

from marketdata.listening import StillWatching
from strategies.services import StrategyError

logger = logging.getLogger(__name__)
_SHOWN = 80


class ErrorDetail(Schema):
    code: str
    message: str
    field: str | None = None


class ErrorOut(Schema):
    """What every answer from 400 on looks like."""

    error: ErrorDetail


class Answer(NamedTuple):
    """An answer before it is a response: what is stored under an ``Idempotency-Key``."""

    status: int
    body: str

    def response(self, headers: Mapping[str, str] | None = None) -> HttpResponse:
        return HttpResponse(
            self.body, status=self.status, content_type="application/json", headers=dict(headers or {})
        )


class ApiError(Exception):
    """A refusal: an HTTP status, a code for programs, a sentence for people, and the field to blame."""

    def __init__(
        self, status: int, code: str, message: str, field: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.field, self.headers = status, code, field, dict(headers or {})

    def answer(self) -> Answer:
        detail = {"code": self.code, "message": str(self), **({"field": self.field} if self.field else {})}
        return Answer(self.status, json.dumps({"error": detail}))

    def response(self) -> HttpResponse:
        return self.answer().response(self.headers)


REFUSALS = (ApiError, StrategyError, StillWatching)
"""What an operation may raise to say no; nothing was changed then."""


def refusal(exc: Exception) -> ApiError:
    """Return a refusal of ours or of the house as the API's."""
    if isinstance(exc, ApiError):
        return exc
    code = "still_watching" if isinstance(exc, StillWatching) else "refused"
    return ApiError(409, code, str(exc))


# --- JSON read strictly -------------------------------------------------------------------


class StrictParser(Parser):
    """Reads a body, refusing what JSON leaves open: names that come twice, NaN, Infinity."""

    def parse_body(self, request: HttpRequest) -> Any:
        try:
            return json.loads(request.body, object_pairs_hook=_once_each, parse_constant=_no_constant)
        except RecursionError as exc:
            raise ValueError("nested too deep") from exc


def _once_each(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice in one object")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


# --- exceptions to answers ----------------------------------------------------------------


def handle_errors(api: NinjaAPI) -> None:
    """Have every exception answered in the one shape."""
    for kind in REFUSALS:
        api.add_exception_handler(kind, _refused)
    for known, answer in {
        Http404: _not_found,
        ValidationError: _invalid,
        HttpError: _http_error,
        RequestDataTooBig: _too_big,
        OperationalError: _database_trouble,
        InterfaceError: _database_trouble,
        Exception: _our_fault,
    }.items():
        api.add_exception_handler(known, answer)


def no_such_address(request: HttpRequest, rest: str = "") -> HttpResponse:
    """Answer an address that leads nowhere."""
    return ApiError(404, "not_found", f"There is no {request.path} here: see /api/docs.").response()


def _refused(_: HttpRequest, exc: Any) -> HttpResponse:
    return refusal(exc).response()


def _not_found(request: HttpRequest, _: Any) -> HttpResponse:
    return no_such_address(request)


def _invalid(_: HttpRequest, exc: Any) -> HttpResponse:
    first = exc.errors[0]
    field = ".".join(str(part) for part in first["loc"][1:] if part != "data")
    return ApiError(422, "invalid", _sentence(first, field), field).response()


def _sentence(error: Mapping[str, Any], field: str) -> str:
    kind = error["type"]
    if kind == "missing":
        return f"{field or 'A JSON body'} is missing: send it."
    if kind == "extra_forbidden":
        return f"{field} is not a field of this request: see /api/docs for its fields."
    if kind == "value_error":
        return str(error["msg"]).removeprefix("Value error, ")
    value = repr(error["input"])[:_SHOWN]
    return f"{field or 'body'}: {value} is not accepted. {error['msg']}."


def _http_error(_: HttpRequest, exc: Any) -> HttpResponse:
    """Answer ninja's own; of these there is one: a body that cannot be read."""
    if exc.status_code == 400:
        return ApiError(
            400, "malformed", f"The body is not JSON that can be read: {exc.__cause__}."
        ).response()
    return ApiError(exc.status_code, "refused", str(exc)).response()


def _too_big(_: HttpRequest, __: Any) -> HttpResponse:
    return ApiError(413, "too_big", "The body is larger than anything here needs: send less.").response()


def _database_trouble(_: HttpRequest, exc: Any) -> HttpResponse:
    logger.warning("the API cannot use the database: %s", exc)
    return ApiError(
        503, "busy",
        "The database does not answer just now, and whether anything was changed is not known: send the same again, "
        "with the same Idempotency-Key.",
        headers={"Retry-After": "2"},
    ).response()  # fmt: skip


def _our_fault(request: HttpRequest, exc: Any) -> HttpResponse:
    logger.error("%s %s failed", request.method, request.path, exc_info=exc)
    return ApiError(
        500, "internal", "Something is wrong here, not with what you sent: tell who runs this."
    ).response()
