"""What holds for every route: whose rows they are, and how a refusal looks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client

from marketdata.models import BrokerAccount
from project.api.openapi import described
from strategies.models import Alert, Exit, Strategy
from strategies.services import exit_now, start_strategy
from tests.support.api import Program

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore:No directory at")]


def routes() -> Iterator[tuple[str, str]]:
    for path, methods in described()["paths"].items():
        yield from ((method, path.removeprefix("/api/v1/")) for method in methods)


ROUTES = list(routes())


@pytest.fixture
def everything(strategy: Strategy, account: BrokerAccount) -> dict[str, int]:
    """One of each that has an id, by the name that addresses give it."""
    exit_now(start_strategy(strategy))
    row = Exit.objects.get()
    alert = Alert.objects.create(
        user=strategy.user, strategy=strategy, kind="done", text="It is done.", cause="x", created_at=row.created_at
    )  # fmt: skip
    return {"strategy": strategy.pk, "account": account.pk, "exit_id": row.pk, "alert": alert.pk}


def test_what_is_somebody_else_s_does_not_exist(stranger: Program, everything: dict[str, int]) -> None:
    for method, path in ROUTES:
        if "{" in path:
            body = {"stop_loss": "1480"} if path.endswith("stop-price") else None
            for ids in (everything, dict.fromkeys(everything, 2**70)):
                stranger.send(method, path.format(**ids), {} if method == "patch" else body)
                assert stranger.refused()[:2] == (404, "not_found"), path
        elif method == "get":
            told = stranger.get(path, **({"q": "INFY"} if path == "instruments" else {}))
            assert not any(told.get("items", ())), path


def test_staff_are_users_like_others_here(everything: dict[str, int]) -> None:
    boss = Program(User.objects.create(username="boss", is_staff=True, is_superuser=True))
    assert boss.get("strategies")["items"] == []
    assert boss.get("status")["listeners"] == {}
    boss.post(f"strategies/{everything['strategy']}/stop")
    assert boss.refused()[0] == 404


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ("", 422, "A JSON body is missing: send it."),
        ("{", 400, "not JSON that can be read"),
        (b'{"stop_loss": "\xff"}', 400, "not JSON that can be read"),
        ("[" * 200_000, 400, "nested too deep"),
        ('{"stop_loss": NaN}', 400, "NaN is not JSON"),
        ('{"stop_loss": "1480", "stop_loss": "1470"}', 400, "a name comes twice"),
        ("[]", 422, "not accepted"),
        ('{"stop_loss": 1480.05}', 422, '1480.05 is a JSON number, which is not exact: send prices as text, "1480.05".'),
        ('{"stop_loss": "1480,05"}', 422, "'1480,05' is not a price"),
        ('{"stop_loss": "1e3"}', 422, "'1e3' is not a price"),
        ('{"stop_loss": true}', 422, "True is not a price"),
        ('{"stop_loss": "1480.03"}', 422, "1480.03 is between two ticks of 0.05: use 1480 or 1480.05."),
        ('{"stop_loss": "0"}', 422, "0 is not a price: set it above 0."),
        ('{"stop_loss": "1480", "quantity": 5}', 422, "quantity is not a field of this request"),
    ],
)  # fmt: skip
def test_a_body_that_is_not_understood_changes_nothing(
    program: Program, strategy: Strategy, body: str | bytes, status: int, says: str
) -> None:
    program.post(f"strategies/{strategy.pk}/stop-price", body)
    assert program.refused()[0] == status
    assert says in program.refused()[2]
    assert set(program.told()) == {"error"}
    assert program.get(f"strategies/{strategy.pk}")["stop_loss"] == "1490.00"


def test_a_price_is_exact_and_a_whole_number_is_one(program: Program, strategy: Strategy) -> None:
    path = f"strategies/{strategy.pk}/stop-price"
    assert program.post(path, {"stop_loss": "1480.05"})["stop_loss"] == "1480.05"
    assert program.post(path, {"stop_loss": 1480})["stop_loss"] == "1480.00"


def test_an_exit_of_a_part_is_not_taken_for_one_of_the_whole(program: Program, strategy: Strategy) -> None:
    start_strategy(strategy)
    program.post(f"strategies/{strategy.pk}/exit", {"quantity": 5})
    assert program.refused() == (
        422, "invalid", "quantity is not a field of this request: see /api/docs for its fields.",
    )  # fmt: skip
    assert program.told()["error"]["field"] == "quantity"
    assert not Exit.objects.exists()


def test_a_slip_in_an_address_is_refused(program: Program) -> None:
    program.get("strategies", colour="active")
    assert program.refused()[0] == 422
    assert "colour in the address is not known here" in program.refused()[2]
    program.get("strategies", status="armed")
    assert "status: 'armed' is not accepted" in program.refused()[2]


def test_wrong_addresses_and_methods_are_told_in_the_same_shape(program: Program) -> None:
    program.get("strategy")
    assert program.refused() == (404, "not_found", "There is no /api/v1/strategy here: see /api/docs.")
    program.post("status")
    assert program.refused()[:2] == (405, "wrong_method")
    assert program.heard.headers["Allow"] == "GET"


def test_a_database_that_does_not_answer_is_told(
    program: Program, strategy: Strategy, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object, **__: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr("project.api.routes.strategies.services.start_strategy", locked)
    program.post(f"strategies/{strategy.pk}/start")
    assert program.refused()[:2] == (503, "busy")
    assert program.heard.headers["Retry-After"] == "2"


def test_the_description_names_what_every_write_and_refusal_has() -> None:
    answer = Client().get("/api/openapi.json")
    schema = json.loads(answer.content)
    assert schema["openapi"].startswith("3.")
    for method, path in ROUTES:
        operation = schema["paths"][f"/api/v1/{path}"][method]
        assert "default" in operation["responses"]
        names = {row["name"] for row in operation.get("parameters", ())}
        assert ("Idempotency-Key" in names) == (method != "get")
