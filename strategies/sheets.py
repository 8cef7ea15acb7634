"""Strategies and watch lists as CSV.

What is imported is validated as if it had been typed, row by row and before anything is written,
and comes in as drafts: nothing is armed, and no live switch is on. What is exported holds no
credential, and no spreadsheet takes a cell of it for a formula.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tablib
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from import_export import fields, resources
from import_export.formats.base_formats import CSV

from marketdata.models import BrokerAccount
from strategies import services
from strategies.live import watching
from strategies.live.forms import OwnStrategyForm
from strategies.models import Strategy, WatchedInstrument
from strategies.reporting import plain

MOST_ROWS = 500
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_AT_ONCE = 20
"""Instruments put on a list in one transaction: a database that is written by one must not be held long."""
Cells = Mapping[str, Any]


def defused(cell: Any) -> str:
    """Return a cell as text that no spreadsheet calculates."""
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(_FORMULA) else text


def typed(row: Cells, name: str) -> str:
    """Return what a row has in a column, without what ``defused`` put before it."""
    text = str(row.get(name) or "").strip()
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


class Sheet(CSV):  # type: ignore[misc]  # the package has no types
    """CSV whose cells are harmless in a spreadsheet."""

    def export_data(self, dataset: Any, **_: Any) -> str:
        rows = ([defused(cell) for cell in row] for row in dataset)
        return str(tablib.Dataset(*rows, headers=dataset.headers).export("csv"))


class TooMuch(Exception):
    """The file is longer than one import may be."""


class _Checked(resources.ModelResource):  # type: ignore[misc]  # likewise
    """Checks every row first and writes only when all are well, outside any long transaction."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pending: list[Any] = []

    def before_import(self, dataset: Any, **_: Any) -> None:
        """Take headers in any letter case; refuse a file that is too long."""
        if len(dataset) > MOST_ROWS:
            count = len(dataset)
            dataset.wipe()
            raise TooMuch(f"The file has {count} rows: import {MOST_ROWS} at a time.")
        dataset.headers = [str(name or "").strip().lower().replace(" ", "_") for name in dataset.headers]

    def save_instance(self, instance: Any, *_: Any, **__: Any) -> None:
        """Keep it until all rows are known to be well."""
        self.pending.append(instance)

    def after_import(self, dataset: Any, result: Any, **kwargs: Any) -> None:
        """Write what was kept, unless this was the look before or a row was refused."""
        if not (kwargs.get("dry_run", True) or result.has_errors() or result.has_validation_errors()):
            self.write(kwargs["user"])

    def write(self, by: User) -> None:
        """Write ``pending``."""
        raise NotImplementedError


class StrategySheet(_Checked):
    """One strategy a row. ``user`` may be left empty: whoever imports."""

    user = fields.Field(column_name="user")
    account = fields.Field(column_name="account")
    instrument = fields.Field(column_name="instrument")
    name = fields.Field(column_name="name", attribute="name")
    position = fields.Field(column_name="position", attribute="position")
    product = fields.Field(column_name="product", attribute="product")
    quantity = fields.Field(column_name="quantity", attribute="quantity")
    entry_price = fields.Field(column_name="entry_price")
    stop_loss = fields.Field(column_name="stop_loss")

    class Meta:
        model = Strategy
        fields = (
            "user", "account", "instrument", "name", "position", "product", "quantity", "entry_price", "stop_loss",
        )  # fmt: skip
        export_order = fields
        force_init_instance = True
        use_transactions = False
        skip_diff = store_row_values = True

    def import_instance(self, instance: Strategy, row: Cells, **kwargs: Any) -> None:
        """Fill in a draft from a row, through the form that people use; raises ``ValidationError``."""
        instance.user = _owner(row, kwargs["user"])
        data = {name: typed(row, name) for name in self._meta.fields}
        data |= {name: data[name].upper() for name in ("position", "product", "instrument")}
        form = OwnStrategyForm(
            {**data, "account": _account(data["account"], instance.user).pk}, instance=instance
        )
        if not form.is_valid():
            raise ValidationError(
                {name: [str(error) for error in errors] for name, errors in form.errors.items()}
            )

    def write(self, by: User) -> None:
        for strategy in self.pending:
            services.create_strategy(strategy, by=by)

    def dehydrate_user(self, row: Strategy) -> str:
        return row.user.get_username()

    def dehydrate_account(self, row: Strategy) -> str:
        return row.account.client_id or row.account.name

    def dehydrate_instrument(self, row: Strategy) -> str:
        return row.symbol

    def dehydrate_entry_price(self, row: Strategy) -> str:
        return plain(row.entry_price) or ""

    def dehydrate_stop_loss(self, row: Strategy) -> str:
        return plain(row.stop_loss) or ""


class WatchSheet(_Checked):
    """One instrument of somebody's watch list a row."""

    user = fields.Field(column_name="user")
    instrument = fields.Field(column_name="instrument")

    class Meta:
        model = WatchedInstrument
        fields = export_order = ("user", "instrument")
        force_init_instance = True
        use_transactions = False
        skip_diff = store_row_values = True

    def import_instance(self, instance: Any, row: Cells, **kwargs: Any) -> None:
        """Find whose list, and the instrument among what their accounts list; raises ``ValidationError``."""
        owner = _owner(row, kwargs["user"])
        try:
            found = watching.find(owner.pk, typed(row, "instrument").upper())
        except watching.WatchError as exc:
            raise ValidationError({"instrument": [str(exc)]}) from None
        instance.account_id, instance.instrument_id = found

    def write(self, by: User) -> None:
        wanted: dict[int, list[str]] = {}
        for row in self.pending:
            wanted.setdefault(row.account.user_id, []).append(row.instrument.symbol)
        for user_id, symbols in wanted.items():
            for start in range(0, len(symbols), _AT_ONCE):
                watching.watch(user_id, symbols[start : start + _AT_ONCE])

    def dehydrate_user(self, row: WatchedInstrument) -> str:
        return row.account.user.get_username()

    def dehydrate_instrument(self, row: WatchedInstrument) -> str:
        return row.instrument.symbol


def _owner(row: Cells, importing: User) -> User:
    name = typed(row, "user")
    if not name:
        return importing
    owner = User.objects.filter(username=name, is_active=True).first()
    if owner is None:
        raise ValidationError(
            {"user": [f"There is no user {name}: write a user name, or leave it empty for yourself."]}
        )
    return owner


def _account(text: str, owner: User) -> BrokerAccount:
    """Return the account of ``owner`` that has this client id or name; empty: their only one."""
    own = BrokerAccount.objects.without_secrets().filter(user=owner)
    found = [
        row for row in own if not text or text.casefold() in (row.client_id.casefold(), row.name.casefold())
    ]
    if len(found) == 1:
        return found[0]
    which = f"{len(found)} accounts" if found else "no account"
    wanted = f"called {text}" if text else "to choose from"
    raise ValidationError({"account": [f"{owner} has {which} {wanted}: write the client id of one."]})
