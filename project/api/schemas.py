"""What requests have in common: prices that are exact, and nothing that was not asked for."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from ninja import Schema
from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
"""A text as a name can have it: the database refuses the rest in its own words."""
_PRICE = re.compile(r"\d{1,13}(\.\d{1,7})?", re.ASCII)


def exact_price(value: Any) -> Any:
    """Return a price in rupees as it was sent; raises ``ValueError`` for a JSON number with a fraction."""
    if isinstance(value, float):
        text = f'{value!r} is a JSON number, which is not exact: send prices as text, "{value!r}".'
        raise ValueError(text)  # noqa: TRY004 - pydantic takes this one
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _PRICE.fullmatch(text):
        raise ValueError(f'{value!r} is not a price: send rupees as text, such as "1490.50".'[:200])
    return Decimal(text)


Price = Annotated[
    Decimal,
    BeforeValidator(exact_price),
    WithJsonSchema({"type": "string", "pattern": r"^\d{1,13}(\.\d{1,7})?$", "examples": ["1490.50"]}),
]


Whole = Annotated[int, Field(strict=True, ge=0, le=2**31 - 1)]
Flag = Annotated[bool, Field(strict=True)]


class StrictSchema(Schema):
    """A body in which an unknown field is refused: a typing error must not be taken for a wish."""

    model_config = ConfigDict(extra="forbid")


class Nothing(StrictSchema):
    """No fields: what is asked for is in the address."""
