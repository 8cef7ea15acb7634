"""Whatever is sent to whatever route: an answer, never a breakdown."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tried
from hypothesis import strategies as st

from project.api.openapi import described
from strategies.models import Strategy
from tests.support.api import Program

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore:No directory at"),
]

OPERATIONS = [
    (method, path.removeprefix("/api/v1/"), operation)
    for path, methods in described()["paths"].items()
    for method, operation in methods.items()
]
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["NSE:INFY", "1490.50", "-1", "1e5", "0", "\0", "active", "BOUGHT", "MIS", "true", "١٢"]),
)
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.integers(0, 20), st.floats(), TEXTS,
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


def fields(operation: dict[str, Any]) -> list[str]:
    """Return the names that a body may have."""
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    names = []
    for choice in schema.get("anyOf", [schema]):
        model = described()["components"]["schemas"].get(choice.get("$ref", "").rpartition("/")[2], {})
        names += list(model.get("properties", ()))
    return names


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, str, str]:
    """Return method, address, body and idempotency key."""
    method, path, operation = draw(st.sampled_from(OPERATIONS))
    query = []
    for row in operation.get("parameters", ()):
        if row["in"] == "path":
            value = draw(st.one_of(st.just("1"), st.integers(-5, 2**70).map(str), TEXTS.filter(bool)))
            path = path.replace(f"{{{row['name']}}}", quote(value, safe=""))
        elif row["in"] == "query" and draw(st.booleans()):
            query.append(f"{row['name']}={quote(draw(TEXTS))}")
    named = st.dictionaries(st.sampled_from(fields(operation) or ["x"]), VALUES)
    body = draw(
        st.one_of(
            st.just(""), named.map(json.dumps), VALUES.map(json.dumps), st.just('{"\\ud800": "\\ud800"}')
        )
    )
    key = draw(
        st.one_of(
            st.just(""), st.text(st.characters(max_codepoint=255), max_size=10).map(lambda text: text.strip())
        )
    )
    return method, f"{path}?{'&'.join(query)}", body, "" if {"\r", "\n"} & set(key) else key


@given(sent=requests())
@tried(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_nothing_breaks_it(
    program: Program, strategy: Strategy, settings: Any, sent: tuple[str, str, str, str]
) -> None:
    settings.API_READS_PER_MINUTE = settings.API_WRITES_PER_MINUTE = 1_000_000
    program.send(*sent)
    assert program.heard.status_code < 500, sent
    if program.heard.status_code >= 400:
        error = program.told()["error"]
        assert error["code"], sent
        assert error["message"], sent
