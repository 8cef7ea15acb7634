"""What people type: into the live page, and into the admin's strategy form."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, cast

from django import forms

from marketdata.models import BrokerAccount, Instrument
from strategies.live.entry import refuse_passed_stop
from strategies.live.finding import NotFound, find_instrument
from strategies.models import Strategy
from strategies.reporting import plain
from strategies.services import StrategyError

if TYPE_CHECKING:
    _StrategyModelForm = forms.ModelForm[Strategy]
else:
    _StrategyModelForm = forms.ModelForm


_SIDES = {Strategy.Position.BOUGHT: "long", Strategy.Position.SOLD: "short", Strategy.Position.NONE: ""}
_DELIVERY = (Strategy.Product.CNC, Strategy.Product.MTF)


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
        fields: ClassVar[Sequence[str]] = (
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
        stored = Strategy.objects.filter(pk=self.instance.pk).first()
        row = stored or Strategy(user_id=self.instance.user_id)
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
        if row.status == Strategy.Status.ACTIVE and "stop_loss" in self.changed_data:
            self._refuse_passed(row)

    def _refuse_passed(self, row: Strategy) -> None:
        try:
            refuse_passed_stop(row, "it would exit at once. Choose another stop.")
        except StrategyError as exc:
            self._refuse("stop_loss", str(exc))

    def _refuse(self, field: str, text: str) -> None:
        # A field that is read-only just now is not on the form.
        self.add_error(field if field in self.fields else None, text)


class RupeesField(forms.DecimalField):
    """A price as people write or paste it: ``1,23,456.75`` or ``₹ 1490``."""

    def to_python(self, value: Any) -> Any:
        text = value.replace(",", "").replace("₹", "").strip() if isinstance(value, str) else value
        return super().to_python(text)


class WholeField(forms.IntegerField):
    """A count as people write it: ``1,000``. Nothing typed is none."""

    def to_python(self, value: Any) -> int | None:
        text = value.replace(",", "").strip() if isinstance(value, str) else value
        return super().to_python(text) or 0


class OwnStrategyForm(StrategyForm):
    """A strategy of the user's own, on their own accounts; the instrument is typed by its name."""

    instrument = forms.CharField(
        label="Instrument",
        max_length=80,
        help_text="Exchange and symbol, such as NSE:INFY or NFO:NIFTY26DECFUT.",
        error_messages={"required": "Type the instrument, such as NSE:INFY."},
    )
    position = forms.ChoiceField(
        label="What you hold",
        choices=[
            (Strategy.Position.BOUGHT, "Bought (long): sell when the price falls to the stop"),
            (Strategy.Position.SOLD, "Sold (short): buy back when the price rises to the stop"),
            (Strategy.Position.NONE, "Nothing yet: watch the price only"),
        ],
    )
    quantity = WholeField(
        label="Quantity", required=False, min_value=0, error_messages={"invalid": "Type a whole number."}
    )
    entry_price = RupeesField(label="Entry price (optional)", required=False, max_digits=20, decimal_places=7)
    stop_loss = RupeesField(label="Stop-loss", required=False, max_digits=20, decimal_places=7)

    class Meta(StrategyForm.Meta):
        fields = (
            "account", "instrument", "position", "product", "quantity", "entry_price", "stop_loss", "name", "live",
        )  # fmt: skip
        labels: ClassVar = {"name": "Name (optional)", "live": "Allow real orders"}
        help_texts: ClassVar = {
            "product": "As it stands in your position: an exit is sent with the same product.",
            "live": "Real orders also need the same switch on the account, and LIVE_TRADING on this installation.",
        }
        error_messages: ClassVar = {
            "account": {"required": "Choose the broker account that holds the position."},
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = BrokerAccount.objects.filter(user=self.instance.user_id).order_by("pk")
        account = cast("forms.ModelChoiceField[BrokerAccount]", self.fields["account"])
        account.queryset, account.empty_label = own, None
        account.label = "Broker account"
        for name in ("entry_price", "stop_loss", "quantity"):
            self.fields[name].widget = forms.TextInput({"inputmode": "decimal"})
        self.fields["instrument"].widget.attrs |= {
            "placeholder": "NSE:INFY", "autocapitalize": "characters", "data-instrument": True,
        }  # fmt: skip
        if self.instance.pk:
            self.initial["instrument"] = self.instance.symbol
        elif not self.initial.get("quantity"):
            self.initial["quantity"] = ""
        for field in self.fields.values():
            dress(field)

    def clean_instrument(self) -> Instrument | None:
        """Look it up in the list of the account's broker."""
        account: BrokerAccount | None = self.cleaned_data.get("account")
        if account is None:
            return None
        try:
            return find_instrument(account.broker, self.cleaned_data["instrument"])
        except NotFound as exc:
            raise forms.ValidationError(str(exc)) from None

    def clean(self) -> dict[str, Any]:
        """Check the fields against each other; a strategy without a name gets one that outlives its position."""
        data = super().clean()
        if not self.errors and not data.get("name"):
            data["name"] = f"{data['instrument']} {_SIDES[data['position']]}".strip()
        return data

    def _check_not_passed(self, row: Strategy) -> None:
        """A draft that would exit when started is a slip of the pen, unless nobody touched its stop."""
        if {"stop_loss", "position", "instrument"} & set(self.changed_data):
            self._refuse_passed(row)

    def _check_quantity(self, row: Strategy) -> None:
        super()._check_quantity(row)
        if row.position == Strategy.Position.NONE:
            return
        if row.stop_loss is None:
            self._refuse("stop_loss", "A position needs a stop-loss: type the price at which to leave it.")
        self._check_product(row)

    def _check_product(self, row: Strategy) -> None:
        """An exit looks for the position under its product: under another one there is nothing to exit."""
        delivery, kind = row.product in _DELIVERY, row.instrument.instrument_type
        if kind == Instrument.Type.INDEX:
            self._refuse(
                "instrument", f"{row.instrument} is an index: hold its future or option, or watch it only."
            )
        elif delivery and kind != Instrument.Type.EQ:
            self._refuse("product", f"{row.product} is for shares: choose NRML or MIS for {row.instrument}.")
        elif delivery and row.position == Strategy.Position.SOLD:
            self._refuse("product", f"{row.product} cannot be sold short: choose MIS.")
        elif row.product == Strategy.Product.NRML and kind == Instrument.Type.EQ:
            self._refuse("product", "NRML is for futures and options: choose CNC, MTF or MIS for shares.")


class StaffStrategyForm(StrategyForm):
    """A strategy of any user, for the admin; the instrument is typed, so that no script is needed to choose it."""

    instrument = forms.CharField(max_length=80, help_text="Exchange and symbol, such as NSE:INFY.")
    clean_instrument = OwnStrategyForm.clean_instrument

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["instrument"] = self.instance.symbol


class NameForm(_StrategyModelForm):
    """All that may change beside the stop while a strategy is armed."""

    class Meta:
        model = Strategy
        fields = ("name",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        dress(self.fields["name"])


class StopForm(StrategyForm):
    """Where the stop moves to; an armed one must leave the price room."""

    stop_loss = RupeesField(
        label="New stop-loss",
        max_digits=20,
        decimal_places=7,
        error_messages={"required": "Type the new stop-loss."},
    )

    class Meta(StrategyForm.Meta):
        fields = ("stop_loss",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["stop_loss"].widget = forms.TextInput({"inputmode": "decimal", "autofocus": True})
        dress(self.fields["stop_loss"])

    def _check_not_passed(self, row: Strategy) -> None:
        self._refuse_passed(row)


def dress(field: forms.Field) -> None:
    """Give a widget the page's look, and keep browsers from filling it in."""
    if not isinstance(field.widget, forms.CheckboxInput):
        field.widget.attrs |= {"class": "field", "autocomplete": "off", "spellcheck": "false"}
