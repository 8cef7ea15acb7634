"""Model fields that keep credentials encrypted at rest."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django import forms
from django.conf import settings
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from marketdata.secret import Secret


@lru_cache(maxsize=4)
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in keys])
    except ValueError as exc:
        raise ImproperlyConfigured(
            "CREDENTIAL_KEYS: each key must be 32 url-safe base64 bytes, as "
            "`python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())'` prints"
        ) from exc


def fernet() -> MultiFernet:
    """Return the cipher of CREDENTIAL_KEYS: the first key encrypts, all decrypt."""
    return _fernet(tuple(settings.CREDENTIAL_KEYS))


class _SecretAttribute(DeferredAttribute):
    """Wraps what is assigned, so that no instance ever holds the bare text."""

    def __set__(self, instance: models.Model, value: Any) -> None:
        if isinstance(value, str):
            value = Secret(value)
        instance.__dict__[self.field.attname] = value


class EncryptedTextField(models.TextField):  # type: ignore[type-arg]
    """A ``Secret``, stored as a Fernet token. Looking rows up by it is refused."""

    descriptor_class = _SecretAttribute

    def get_prep_value(self, value: Any) -> str:
        text = value.reveal() if isinstance(value, Secret) else (value or "")
        return fernet().encrypt(text.encode()).decode() if text else ""

    def from_db_value(self, value: str | None, *_: Any) -> Secret:
        if not value:
            return Secret()
        try:
            return Secret(fernet().decrypt(value.encode()).decode())
        except InvalidToken as exc:
            raise ImproperlyConfigured(
                f"{self.model.__name__}.{self.name} cannot be decrypted with any key of CREDENTIAL_KEYS: "
                "put back the key it was written with"
            ) from exc

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.get_prep_value(self.value_from_object(obj)))  # dumps stay encrypted

    def to_python(self, value: Any) -> Any:
        return Secret(value) if isinstance(value, str) else value

    def get_lookup(self, lookup_name: str) -> Any:
        if lookup_name == "isnull":
            return super().get_lookup(lookup_name)
        raise FieldError(f"{self.name} is encrypted: rows cannot be looked up by it")

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"})
        return super().formfield(**{**kwargs, "widget": widget})

    def save_form_data(self, instance: models.Model, data: Any) -> None:
        if data:  # the form never shows the stored text, so an empty box means "keep it"
            super().save_form_data(instance, data)


class PriceField(models.DecimalField):  # type: ignore[type-arg]
    """Rupees, exact, as fine as the finest feed (see ``domain.prices``)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_digits": 20, "decimal_places": 7, **kwargs})
