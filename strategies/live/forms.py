"""What people type: into the live page, and into the admin's strategy form."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django import forms

from strategies.live.entry import refuse_passed_stop
from strategies.models import Strategy
from strategies.reporting import plain
from strategies.services import StrategyError

if TYPE_CHECKING:
    _StrategyModelForm = forms.ModelForm[Strategy]
else:
    _StrategyModelForm = forms.ModelForm


class WatchForm(forms.Form):
    """Names of instruments, separated by commas."""

    instruments = forms.CharField(
        max_length=2000, error_messages={"required": "Type an instrument, such as NSE:INFY."}
    )

    def clean_instruments(self) -> list[str]:
        """Return canonical names, capitals, in the order typed."""
        typed: str = self.cleaned_data["instruments"]
        names = [" ".join(name.upper().split()) for name in typed.split(",")]
        if not any(names):
            raise forms.ValidationError("Type an instrument, such as NSE:INFY.")
        return [name for name in names if name]


class StrategyForm(_StrategyModelForm):
    """A strategy that can be started: each refusal names the value and what to do."""

    class Meta:
        model = Strategy
        fields = (
            "user", "account", "instrument", "name", "position", "product", "quantity", "entry_price", "live",
            "stop_loss",
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in ("entry_price", "stop_loss"):  # without the empty decimals of the column
            if self.initial.get(name) is not None:
                self.initial[name] = plain(self.initial[name])

    def clean(self) -> dict[str, Any]:
        """Check the fields against each other."""
        super().clean()
        if not self.errors:
            row = self._as_typed()
            self._check_owner(row)
            self._check_quantity(row)
            self._check_price("stop_loss", row.stop_loss, row)
            self._check_price("entry_price", row.entry_price, row)
        if not self.errors:
            self._check_not_passed(self._as_typed())
        return self.cleaned_data

    def _as_typed(self) -> Strategy:
        """Return the row as it would be saved; read-only fields keep what they have."""
        row = Strategy.objects.get(pk=self.instance.pk) if self.instance.pk else Strategy()
        for name, value in self.cleaned_data.items():
            setattr(row, name, value)
        return row

    def _check_owner(self, row: Strategy) -> None:
        if row.account.user_id != row.user_id:
            self._refuse(
                "account", f"{row.account} belongs to {row.account.user}: choose an account of {row.user}."
            )
        if row.instrument.broker != row.account.broker:
            listed, held = row.instrument.get_broker_display(), row.account.get_broker_display()
            self._refuse("instrument", f"{row.instrument} is {listed}'s: choose the one that {held} lists.")

    def _check_quantity(self, row: Strategy) -> None:
        held = row.position != Strategy.Position.NONE
        if held and not row.quantity:
            self._refuse("quantity", "A position needs the quantity held: set it above 0.")
        if row.quantity % row.instrument.lot_size:
            lot = row.instrument.lot_size
            self._refuse(
                "quantity", f"{row.quantity} is not a whole number of lots: use a multiple of {lot}."
            )

    def _check_price(self, field: str, price: Decimal | None, row: Strategy) -> None:
        tick = Decimal(row.instrument.tick_size)
        if price is None:
            return
        if price <= 0:
            self._refuse(field, f"{price} is not a price: set it above 0.")
        elif tick > 0 and price % tick:
            below = price // tick * tick
            near = f"{below.normalize():f} or {(below + tick).normalize():f}"
            self._refuse(
                field, f"{price.normalize():f} is between two ticks of {tick.normalize():f}: use {near}."
            )

    def _check_not_passed(self, row: Strategy) -> None:
        """A stop that the price has passed would exit the moment it is armed."""
        if row.status != Strategy.Status.ACTIVE or "stop_loss" not in self.changed_data:
            return
        try:
            refuse_passed_stop(row)
        except StrategyError as exc:
            self._refuse("stop_loss", str(exc))

    def _refuse(self, field: str, text: str) -> None:
        # A field that is read-only just now is not on the form.
        self.add_error(field if field in self.fields else None, text)
