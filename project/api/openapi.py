"""The API described: as OpenAPI for programs, as a page for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET, require_safe

from project.api.errors import ErrorOut
from project.api.once import HEADER
from project.api.v1 import api

Schema = Mapping[str, Any]
_AT = "/api/v1/"
_KEY = {
    "in": "header",
    "name": HEADER,
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 128},
    "description": "The same key with the same request acts once within 24 hours, and is answered alike.",
}


@require_safe
def openapi_json(request: HttpRequest) -> JsonResponse:
    """The description for programs that make clients of it. It tells nothing of anybody."""
    return JsonResponse(described())


@require_GET
def docs(request: HttpRequest) -> HttpResponse:
    """The same for people, without scripts."""
    context = {
        "groups": _groups(described()),
        "root": request.build_absolute_uri(_AT).rstrip("/"),
        "reads": settings.API_READS_PER_MINUTE,
        "writes": settings.API_WRITES_PER_MINUTE,
    }
    return render(request, "api/docs.html", context)


@lru_cache(maxsize=1)
def described() -> dict[str, Any]:
    """Return the OpenAPI description, with what holds for every operation put into each."""
    schema: dict[str, Any] = api.get_openapi_schema(path_prefix=_AT)
    error = ErrorOut.model_json_schema(ref_template="#/components/schemas/{model}")
    schema["components"]["schemas"] |= {**error.pop("$defs"), "ErrorOut": error}
    for _, method, operation in _operations(schema):
        operation["operationId"] = operation["operationId"].removeprefix("project_api_routes_")
        operation["responses"]["default"] = _REFUSED
        if method != "get":
            operation.setdefault("parameters", []).append(_KEY)
    return schema


_REFUSED = {
    "description": "Refused; error.message says what to do.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorOut"}}},
}


def _operations(schema: Schema) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


# --- for people ---------------------------------------------------------------------------


@dataclass(slots=True)
class Field:
    name: str
    place: str
    kind: str
    is_required: bool


@dataclass(slots=True)
class Route:
    method: str
    path: str
    summary: str
    paragraphs: list[str]
    takes: list[Field]
    gives: list[Field] = field(default_factory=list)
    about: str = ""


def _groups(schema: Schema) -> dict[str, list[Route]]:
    groups: dict[str, list[Route]] = {}
    for path, method, operation in _operations(schema):
        groups.setdefault(operation["tags"][0], []).append(_route(schema, path, method, operation))
    return groups


def _route(schema: Schema, path: str, method: str, operation: Schema) -> Route:
    takes = [
        Field(row["name"], row["in"], _kind(row["schema"]), row["required"])
        for row in operation.get("parameters", ())
    ]
    takes += _fields(schema, _json(operation.get("requestBody", {})), "body")
    answer = next(
        (_json(told) for code, told in operation["responses"].items() if str(code).startswith("2")), {}
    )
    return Route(
        method=method.upper(),
        path=path.removeprefix(_AT.rstrip("/")),
        summary=operation["summary"],
        paragraphs=operation.get("description", "").split("\n\n"),
        takes=takes,
        gives=_fields(schema, answer, ""),
        about=_resolved(schema, answer).get("description", ""),
    )


def _json(part: Schema) -> Schema:
    found: Schema = part.get("content", {}).get("application/json", {}).get("schema", {})
    return found


def _fields(schema: Schema, of: Schema, place: str, before: str = "") -> list[Field]:
    """Return the fields of an object, and with a dot those of the objects in its lists."""
    model = _resolved(schema, of)
    found: list[Field] = []
    for name, kind in model.get("properties", {}).items():
        inner = kind.get("items", kind.get("additionalProperties", kind))
        within = _fields(schema, inner, place, f"{before}{name}.") if isinstance(inner, dict) else []
        found += within or [Field(before + name, place, _kind(kind), name in model.get("required", ()))]
    return found


def _resolved(schema: Schema, of: Schema) -> Schema:
    """Return a model, of a reference or of what may be a reference or null."""
    choices = [choice for choice in of.get("anyOf", [of]) if "$ref" in choice]
    if not choices:
        return of
    model: Schema = schema["components"]["schemas"][choices[0]["$ref"].rpartition("/")[2]]
    return model


def _kind(of: Schema) -> str:
    """Say what a value has to be, in a word or two."""
    schemas = described()
    words = []
    for choice in of.get("anyOf", [of]):
        model = _resolved(schemas, choice)
        if "enum" in model:
            words.append(" · ".join(map(str, model["enum"])))
        elif "const" in model:
            words.append(str(model["const"]))
        elif model.get("type") == "array":
            words.append(f"list of {_kind(model['items'])}")
        else:
            words.append(_NAMES.get(model.get("format") or model.get("pattern") or "", "") or _plain(model))
    return " or ".join(words)


_NAMES = {"date-time": "time (ISO 8601, UTC)", "date": "date", r"^\d{1,13}(\.\d{1,7})?$": "price as text"}


def _plain(model: Schema) -> str:
    names = {"integer": "whole number", "string": "text", "boolean": "true or false"}
    kind = str(model.get("type", "value"))
    return names.get(kind, kind)
