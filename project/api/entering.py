"""Strategies as programs enter and change them, checked by the forms of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from django.contrib.auth.models import User
from django.forms import ModelForm
from pydantic import Field

from marketdata.models import BrokerAccount
from project.api.errors import ApiError
from project.api.schemas import PRINTABLE, Flag, Price, StrictSchema, Whole
from strategies.live.forms import NameForm, OwnStrategyForm, StopForm
from strategies.models import Strategy

_KEPT: Any = None  # never a value: what was not sent is not looked at
Symbol = Annotated[str, Field(pattern=PRINTABLE, min_length=1, max_length=80, examples=["NSE:INFY"])]
Name = Annotated[str, Field(pattern=PRINTABLE, max_length=80)]


class NewStrategy(StrictSchema):
    """A position is what you hold already; `NONE` watches the price only."""

    account: Whole
    symbol: Symbol
    name: Name = ""
    position: Strategy.Position
    product: Strategy.Product
    quantity: Whole = 0
    entry_price: Price | None = None
    stop_loss: Price | None = None
    live: Flag = False


class StrategyChanges(StrictSchema):
    """What is left out stays as it is."""

    account: Whole = Field(_KEPT)
    symbol: Symbol = Field(_KEPT)
    name: Name = Field(_KEPT)
    position: Strategy.Position = Field(_KEPT)
    product: Strategy.Product = Field(_KEPT)
    quantity: Whole = Field(_KEPT)
    entry_price: Price | None = None
    stop_loss: Price | None = None
    live: Flag = Field(_KEPT)


class StopPrice(StrictSchema):
    stop_loss: Price


def entered(user: User, data: NewStrategy) -> Strategy:
    """Return a new strategy of the user's, not saved yet; raises ``ApiError``."""
    form = OwnStrategyForm(_as_form(user.pk, data.dict()), instance=Strategy(user=user))
    _refuse_invalid(form)
    return form.save(commit=False)


def changed(row: Strategy, data: StrategyChanges) -> dict[str, Any]:
    """Return what is to become of columns, where it is not so already; raises ``ApiError``."""
    sent = data.dict(exclude_unset=True)
    form: ModelForm[Strategy]
    if set(sent) <= {"name"}:
        form = NameForm({"name": row.name, **sent}, instance=row)
    else:
        stored = {name: getattr(row, name) for name in StrategyChanges.model_fields if name != "account"}
        values = {**stored, "account": row.account_id, **sent}
        form = OwnStrategyForm(_as_form(row.user_id, values), instance=row)
    _refuse_invalid(form)
    return {name: form.cleaned_data[name] for name in form.changed_data}


def check_stop(row: Strategy, data: StopPrice) -> None:
    """Raise ``ApiError`` for a stop that may not be."""
    _refuse_invalid(StopForm({"stop_loss": str(data.stop_loss)}, instance=row))


def _as_form(user_id: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as the page's form is sent them."""
    if not BrokerAccount.objects.filter(user=user_id, pk=values["account"]).exists():
        text = f"There is no account {values['account']} of yours: GET /api/v1/listeners lists them."
        raise ApiError(422, "invalid", text, "account")
    typed = {name: "" if value is None else str(value) for name, value in values.items()}
    return {**typed, "instrument": values["symbol"], "live": values["live"]}


def _refuse_invalid(form: ModelForm[Strategy]) -> None:
    """Raise what a form has to say against what was sent, the first of it."""
    for field, texts in form.errors.items():
        name = {"instrument": "symbol", "__all__": ""}.get(field, field)
        raise ApiError(422, "invalid", str(texts[0]), name)
