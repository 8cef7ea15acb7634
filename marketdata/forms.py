"""What people type about a broker account: who it is, and what to log in with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms

from marketdata.brokers import registry
from marketdata.models import Broker, BrokerAccount
from marketdata.ports import LoginField, TypedLogin

if TYPE_CHECKING:
    _AccountModelForm = forms.ModelForm[BrokerAccount]
else:
    _AccountModelForm = forms.ModelForm

_ORDERS = ("live", "paper")
_RARE = ("never_resend", "exit_after_gap")
_LONGEST = 4096
"""Tokens have some hundred letters; this bounds what a form takes."""


class AccountForm(_AccountModelForm):
    """A person's own account. The secret is stored encrypted and never shown again."""

    class Meta:
        model = BrokerAccount
        fields = (
            "broker", "name", "client_id", "api_key", "api_secret", "live", "paper", "never_resend", "exit_after_gap",
        )  # fmt: skip
        labels: ClassVar = {
            "name": "Name (optional)",
            "client_id": "Client id",
            "api_key": "API key",
            "api_secret": "API secret",
            "live": "Allow real orders",
            "paper": "Paper account: never send an order",
            "never_resend": "Never send an order again after a lost reply",
            "exit_after_gap": "Exit after a gap",
        }
        help_texts: ClassVar = {
            "name": 'How you want to see it here, such as "Family account".',
            "client_id": "What you log in with at the broker. Left empty, it is taken from the first login.",
            "api_key": "Of the app that you made on the broker's developer page.",
            "api_secret": "Stored encrypted, never shown again.",
            "live": "Off: stops are watched, and no exit is sent. Each strategy has the same switch.",
            "paper": "For trying things out: you are told when an exit would have been sent.",
            "never_resend": "However sure it is that the first order did not arrive: you are told instead.",
        }
        error_messages: ClassVar = {"broker": {"required": "Choose the broker."}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["broker"].widget = forms.Select(
            choices=[(name, Broker(name).label) for name in registry.BROKERS]
        )
        if self.instance.pk:  # its instruments and positions are that broker's
            del self.fields["broker"]
            self.fields["api_secret"].help_text = "Leave it empty to keep what is stored."
        for field in self.fields.values():
            if not isinstance(field.widget, forms.CheckboxInput):
                field.widget.attrs |= {"class": "field", "autocomplete": "off", "spellcheck": "false"}

    @property
    def who(self) -> list[forms.BoundField]:
        """The fields that say whose account it is."""
        return [self[name] for name in self.fields if name not in (*_ORDERS, *_RARE)]

    @property
    def orders(self) -> list[forms.BoundField]:
        """The switches that decide whether money moves."""
        return [self[name] for name in _ORDERS]

    @property
    def rare(self) -> list[forms.BoundField]:
        """The switches that most people leave alone."""
        return [self[name] for name in _RARE]

    def clean_api_key(self) -> str:
        """Take what was pasted without the blanks around it."""
        return str(self.cleaned_data["api_key"]).strip()

    def clean(self) -> dict[str, Any]:
        """Refuse switches that contradict each other."""
        data = super().clean() or self.cleaned_data
        if data.get("live") and data.get("paper"):
            self.add_error("paper", "A paper account sends no orders: choose one of the two.")
        return data


class TypedLoginForm(forms.Form):
    """The fields of one way to log in. They are passed on once and never kept or shown again."""

    def __init__(self, way: TypedLogin, data: Any = None) -> None:
        super().__init__(data, auto_id=f"id_{way.name}_%s")
        self.way = way
        for field in way.fields:
            self.fields[field.name] = _field(field)

    def trouble(self) -> str:
        """Say in a line what is wrong with what was typed."""
        return " ".join(str(error) for errors in self.errors.values() for error in errors)


def _field(field: LoginField) -> forms.Field:
    attrs = {"class": "field", "autocomplete": "off", "spellcheck": "false"}
    if field.digits:
        attrs |= {"inputmode": "numeric", "maxlength": str(field.digits)}
    kind = forms.PasswordInput if field.secret else forms.TextInput
    missing = f"{field.label} is empty: type it."
    if not field.digits:
        return forms.CharField(
            label=field.label, max_length=_LONGEST, widget=kind(attrs), error_messages={"required": missing}
        )
    return forms.RegexField(
        rf"^[0-9]{{{field.digits}}}\Z",
        label=field.label,
        widget=kind(attrs),
        error_messages={"required": missing, "invalid": f"{field.label}: expected {field.digits} digits."},
    )
