"""What people type to log in at a broker. It is passed on once and never kept or shown again."""

from __future__ import annotations

from typing import Any

from django import forms

from marketdata.ports import LoginField, TypedLogin

_LONGEST = 4096
"""Tokens have some hundred letters; this bounds what a form takes."""


class TypedLoginForm(forms.Form):
    """The fields of one way to log in."""

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
