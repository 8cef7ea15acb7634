"""A broker's list of the day into the instrument table: all of it, or nothing.

The list is read and compared first; the transaction then writes only what differs, so that
a stop's own writes wait for a moment at most. Rows keep their primary keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, TypeVar

from django.db import connection, transaction
from django.db.models import Exists, ForeignObjectRel, Model, OuterRef, Q, QuerySet
from django.utils import timezone

from marketdata.domain.errors import BadReply
from marketdata.domain.instruments import Contract
from marketdata.models import Instrument, InstrumentList

T = TypeVar("T")
Key = tuple[str, str]
Step = Callable[[str, int], None]
"""Told what is being done and how many rows of it are done so far."""

_UNIQUE = ("broker", "exchange", "tradingsymbol")
_COMPARED = (
    "token", "name", "instrument_type", "expiry", "strike", "lot_size", "tick_size", "freeze_quantity",
)  # fmt: skip
_FREEZE = _COMPARED.index("freeze_quantity")
_REPORT_EVERY = 10_000
_CHUNK = 500
_LEAST_SHARE = 2  # a list of less than half of what is stored is damaged, not short


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, in rows.

    Attributes:
        kept: No longer listed, but something refers to them.

    """

    listed: int
    added: int
    changed: int
    removed: int
    kept: int


def import_contracts(
    broker: str, contracts: Iterable[Contract], *, force: bool = False, on_step: Step = lambda *_: None
) -> Imported:
    """Make the table hold exactly ``contracts``, and whatever else is still referred to.

    Args:
        broker: Whose list it is.
        contracts: The whole list, read once.
        force: Take a list of less than half of what is stored.
        on_step: Told of the progress.

    Raises:
        BadReply: Empty, too short, or a symbol twice. Nothing was written.

    """
    listed = _by_key(contracts, on_step)
    stored = _stored(broker)
    _check_size(broker, len(listed), len(stored), force=force)
    added = [contract for key, contract in listed.items() if key not in stored]
    changed = [
        contract for key, contract in listed.items() if key in stored and _differs(contract, stored[key])
    ]
    with transaction.atomic():
        _write(broker, [*added, *changed], stored, on_step)
        removed = _remove(broker, stored.keys() - listed.keys())
        kept = _retire(
            broker, stored.keys() - listed.keys(), {contract.token for contract in listed.values()}
        )
        InstrumentList.objects.update_or_create(broker=broker, defaults={"imported_at": timezone.now()})
    return Imported(len(listed), len(added), len(changed), removed, kept)


def _by_key(contracts: Iterable[Contract], on_step: Step) -> dict[Key, Contract]:
    found: dict[Key, Contract] = {}
    for number, contract in enumerate(contracts, 1):
        key = (contract.exchange, contract.tradingsymbol)
        if key in found:
            raise BadReply(f"{contract.symbol} is listed twice, as {found[key].token} and {contract.token}")
        found[key] = contract
        if number % _REPORT_EVERY == 0:
            on_step("read", number)
    on_step("read", len(found))
    return found


def _stored(broker: str) -> dict[Key, tuple[object, ...]]:
    rows = Instrument.objects.filter(broker=broker).values_list("exchange", "tradingsymbol", *_COMPARED)
    return {(row[0], row[1]): row[2:] for row in rows.iterator(chunk_size=_REPORT_EVERY)}


def _check_size(broker: str, listed: int, stored: int, *, force: bool) -> None:
    if listed == 0:
        raise BadReply(f"the instrument list of {broker} is empty; the {stored} stored rows are untouched")
    if listed * _LEAST_SHARE < stored and not force:
        raise BadReply(
            f"the instrument list of {broker} has {listed} rows and {stored} are stored: less than half, so it "
            "looks cut off. Nothing was changed; --force takes it all the same"
        )


def _differs(contract: Contract, row: Sequence[object]) -> bool:
    return any(
        getattr(contract, name) != value
        for name, value in zip(_COMPARED, row, strict=True)
        if name != "freeze_quantity" or contract.freeze_quantity is not None
    )


def _write(
    broker: str, contracts: Sequence[Contract], stored: Mapping[Key, Sequence[object]], on_step: Step
) -> None:
    # `bulk_create` makes the same statement four times slower, and a stop may be waiting for the lock.
    sql = _upsert()
    with connection.cursor() as cursor:
        for number, some in enumerate(_chunks(contracts, _REPORT_EVERY)):
            cursor.executemany(sql, [_values(broker, contract, stored) for contract in some])
            on_step("written", number * _REPORT_EVERY + len(some))


def _upsert() -> str:
    column = {field.name: field.column or field.name for field in Instrument._meta.concrete_fields}

    def columns(names: Sequence[str]) -> list[str]:
        return [connection.ops.quote_name(column[name]) for name in names]

    table, keys, others = (
        connection.ops.quote_name(Instrument._meta.db_table),
        columns(_UNIQUE),
        columns(_COMPARED),
    )
    return (
        f"INSERT INTO {table} ({', '.join(keys + others)}) "  # noqa: S608 - names of our own model
        f"VALUES ({', '.join(['%s'] * len(keys + others))}) "
        f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in others)}"
    )


def _values(broker: str, contract: Contract, stored: Mapping[Key, Sequence[object]]) -> list[Any]:
    values = [getattr(contract, name) for name in _COMPARED]
    known = stored.get((contract.exchange, contract.tradingsymbol))
    if known and contract.freeze_quantity is None:  # a list that does not say has not said "none"
        values[_FREEZE] = known[_FREEZE]
    return [broker, contract.exchange, contract.tradingsymbol, *values]


def _remove(broker: str, keys: Iterable[Key]) -> int:
    # Whatever refers to an instrument, in any app, keeps it.
    referred = reduce(or_, (Q(Exists(_referring(relation))) for relation in Instrument._meta.related_objects))
    removed = 0
    for some in _chunks(sorted(keys), _CHUNK):
        removed += _rows(broker, some).exclude(referred).delete()[0]
    return removed


def _retire(broker: str, keys: Iterable[Key], tokens: set[str]) -> int:
    # What is left keeps its token, for a list may leave a contract out by mistake; unless the
    # token is another's now: then the old contract's name would stand for the new one's prices.
    kept = [row for some in _chunks(sorted(keys), _CHUNK) for row in _rows(broker, some)]
    reused = [row.pk for row in kept if row.token in tokens]
    for some in _chunks(reused, _CHUNK):
        Instrument.objects.filter(pk__in=some).update(token="")
    return len(kept)


def _rows(broker: str, keys: Sequence[Key]) -> QuerySet[Instrument]:
    wanted: dict[str, list[str]] = {}
    for exchange, tradingsymbol in keys:
        wanted.setdefault(exchange, []).append(tradingsymbol)
    by_name = (Q(exchange=exchange, tradingsymbol__in=names) for exchange, names in wanted.items())
    return Instrument.objects.filter(reduce(or_, by_name), broker=broker)


def _referring(relation: ForeignObjectRel) -> QuerySet[Model]:
    return relation.related_model._base_manager.filter(**{relation.field.name: OuterRef("pk")})


def _chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
