"""Statements that are put into SQL once, and go to the database several in one trip.

Of what an ORM's query costs, nine tenths are its building; on the way from a breach to its order
there are twenty. Values go through the models' own fields, answers through Django's own converters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property, partial
from typing import Any, Generic, NamedTuple, TypeVar

from django.db import connection as database
from django.db.models import Field, Model, QuerySet

T = TypeVar("T")
U = TypeVar("U")
M = TypeVar("M", bound=Model)


class Answer(NamedTuple):
    """What the database said of one statement.

    Attributes:
        changed: How many rows.
        rows: What was read.
        last_id: The key of a row that SQLite was given.

    """

    changed: int
    rows: Sequence[tuple[Any, ...]]
    last_id: int | None


@dataclass(frozen=True, slots=True)
class Bound(Generic[T]):
    """A statement with its values; ``read`` makes the result of the answer."""

    sql: str
    values: Sequence[Any]
    read: Callable[[Answer], T]

    def or_fail(self, error: Exception) -> Bound[T]:
        """Return the same, whose reading raises ``error`` where no row was changed."""
        return replace(self, read=partial(_read_or_fail, self.read, error))

    def then(self, look: Callable[[T], U]) -> Bound[U]:
        """Return the same with what ``look`` makes of its result, or raises."""
        return Bound(self.sql, self.values, lambda answer: look(self.read(answer)))


def run(statement: Bound[T]) -> T:
    """Run one statement. Raises ``django.db.Error``."""
    [result] = together(statement)
    return result  # type: ignore[no-any-return]


def together(*statements: Bound[Any]) -> list[Any]:
    """Run statements in their order, in one trip where the database can; return the result of each.

    None of them can depend on the result of another. Where a result may be refused, call it in a
    transaction: those behind it may have been run, and are undone with it.

    Raises:
        django.db.Error: Of the first that failed, unless what an earlier one's reading raises explains it.

    """
    answers = _in_one_trip(statements) if database.vendor == "postgresql" else map(_alone, statements)
    return [statement.read(answer) for statement, answer in zip(statements, answers, strict=True)]


def _alone(statement: Bound[Any]) -> Answer:
    with database.cursor() as cursor:
        cursor.execute(statement.sql, statement.values)
        rows = cursor.fetchall() if cursor.description else ()
        return Answer(cursor.rowcount, rows, cursor.lastrowid)


def _in_one_trip(statements: Sequence[Bound[Any]]) -> Iterator[Answer]:
    import psycopg  # not there where SQLite is all that is used

    database.close_if_health_check_failed()
    database.ensure_connection()
    database.validate_no_broken_transaction()
    raw: Any = database.connection
    raw.prepare_threshold = 0  # they are always the same: the server plans each once
    with database.wrap_database_errors:
        cursors = [psycopg.Cursor(raw) for _ in statements]  # Django's own cannot be sent together
        failure = _sent(raw, cursors, statements)
        for cursor in cursors:
            if failure is not None and cursor.pgresult is None:
                raise failure
            yield Answer(cursor.rowcount, cursor.fetchall() if cursor.description else (), None)
        if failure is not None:  # behind the last answer
            raise failure


def _sent(raw: Any, cursors: Sequence[Any], statements: Sequence[Bound[Any]]) -> Exception | None:
    """Send all; return why one failed, where one did: those before it have their answers."""
    from psycopg import Error

    try:
        with raw.pipeline():
            for cursor, statement in zip(cursors, statements, strict=True):
                cursor.execute(statement.sql, statement.values)
    except Error as exc:
        return exc
    return None


def unflushed() -> Sequence[Bound[None]]:
    """Return what lets the transaction around it end before it is on the disk.

    For what is of no use without a later transaction: that one puts both there, in their order.
    SQLite has no such choice within a transaction.
    """
    return [_UNFLUSHED] if database.vendor == "postgresql" else []


_UNFLUSHED: Bound[None] = Bound("SET LOCAL synchronous_commit TO off", (), lambda _: None)


class Insert(Generic[M]):
    """Adds a row of a model."""

    def __init__(self, model: type[M]) -> None:
        self._model = model

    @cached_property
    def _fields(self) -> list[Field[Any, Any]]:
        return [field for field in self._model._meta.local_concrete_fields if not field.primary_key]

    @cached_property
    def _sql(self) -> str:
        columns = ", ".join(_quoted(field.column) for field in self._fields)
        places = ", ".join("%s" for _ in self._fields)
        return f"INSERT INTO {_quoted(self._model._meta.db_table)} ({columns}) VALUES ({places})"  # noqa: S608 - names of our own

    def __call__(self, row: M) -> Bound[int]:
        """Bind what ``row`` holds; the result is its key, which ``row`` has from then on."""
        values = [field.get_db_prep_save(field.pre_save(row, True), database) for field in self._fields]

        def read(answer: Answer) -> int:
            row.pk = answer.rows[0][0] if answer.rows else answer.last_id
            row._state.adding, row._state.db = False, database.alias
            return int(row.pk)

        return Bound(self._sql + self._returning(), values, read)

    def _returning(self) -> str:
        # SQLite tells the key by itself, also in its versions without this clause.
        return "" if database.vendor == "sqlite" else f" RETURNING {_quoted(self._model._meta.pk.column)}"


class Update:
    """Changes columns of the rows that are still as they are said to be; the result is how many there were."""

    def __init__(self, model: type[Model], *, change: Sequence[str], where: Sequence[str]) -> None:
        self._model = model
        self._change = tuple(change)
        self._where = tuple(where)

    @cached_property
    def _fields(self) -> list[Field[Any, Any]]:
        meta: Any = self._model._meta
        return [meta.get_field(name) for name in (*self._change, *self._where)]

    @cached_property
    def _sql(self) -> str:
        columns = [f"{_quoted(field.column)} = %s" for field in self._fields]
        changed, asked = columns[: len(self._change)], columns[len(self._change) :]
        table = _quoted(self._model._meta.db_table)
        return f"UPDATE {table} SET {', '.join(changed)} WHERE {' AND '.join(asked)}"  # noqa: S608

    def __call__(self, *values: Any) -> Bound[int]:
        """Bind the new values, then those of the conditions, as they were named."""
        pairs = zip(self._fields, values, strict=True)
        return Bound(self._sql, [field.get_db_prep_save(value, database) for field, value in pairs], _count)


class Select:
    """Reads the rows that a ``values_list`` says, with other values each time.

    Args:
        make: Makes the query set of values given by name.
        examples: Such values, each unlike any other value in the query.

    """

    def __init__(self, make: Callable[..., QuerySet[Any, Any]], **examples: Any) -> None:
        self._make = make
        self._examples = examples
        self._compiled: dict[str, _Compiled] = {}  # by kind of database

    def __call__(self, **values: Any) -> Bound[list[tuple[Any, ...]]]:
        """Bind the values of this time."""
        compiled = self._compiled.get(database.vendor)
        if compiled is None:
            compiled = self._compiled[database.vendor] = self._compile()
        given = {name: _adapted(value) for name, value in values.items()}
        bound = [value if name is None else given[name] for name, value in compiled.values]
        return Bound(compiled.sql, bound, compiled.read)

    def _compile(self) -> _Compiled:
        compiler = self._make(**self._examples).query.get_compiler(connection=database)
        sql, values = compiler.as_sql()
        names = {_adapted(example): name for name, example in self._examples.items()}
        named = [(names.get(value), value) for value in values]
        if missing := self._examples.keys() - {name for name, _ in named}:
            raise ValueError(f"the query does not ask for {', '.join(sorted(missing))}")
        converters = compiler.get_converters([column for column, *_ in compiler.select])

        def read(answer: Answer) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in compiler.apply_converters(answer.rows, converters)]

        return _Compiled(sql, named, read)


class _Compiled(NamedTuple):
    sql: str
    values: Sequence[tuple[str | None, Any]]
    read: Callable[[Answer], list[tuple[Any, ...]]]


class Objects(Generic[M]):
    """Makes objects of a model, and of those it refers to, of rows; what a row does not tell is read when looked at.

    Args:
        model: The model.
        names: The columns of a row, as ``values_list`` takes them: each model's key among them.

    """

    def __init__(self, model: type[M], names: Sequence[str]) -> None:
        self._model = model
        self._paths = [name.rpartition("__")[::2] for name in names]

    @cached_property
    def _parts(self) -> list[tuple[str, type[Model], list[str], list[int]]]:
        return [self._part(path) for path in dict.fromkeys(path for path, _ in self._paths)]

    def _part(self, path: str) -> tuple[str, type[Model], list[str], list[int]]:
        meta: Any = self._model._meta
        model = meta.get_field(path).related_model if path else self._model
        told = {
            model._meta.get_field(name): place
            for place, (owner, name) in enumerate(self._paths)
            if owner == path
        }
        # In the model's own order, as ``from_db`` takes them.
        fields = [field for field in model._meta.concrete_fields if field in told]
        return path, model, [field.attname for field in fields], [told[field] for field in fields]

    def __call__(self, rows: Sequence[Sequence[Any]]) -> list[M]:
        """Return an object for each row."""
        return [self._made(row) for row in rows]

    def _made(self, row: Sequence[Any]) -> M:
        made: dict[str, Any] = {
            path: model.from_db(database.alias, names, [row[place] for place in places])
            for path, model, names, places in self._parts
        }
        found: M = made.pop("")
        for path, related in made.items():
            setattr(found, path, related)
        return found


def _adapted(value: Any) -> Any:
    if isinstance(value, datetime):
        return database.ops.adapt_datetimefield_value(value)
    return database.ops.adapt_datefield_value(value) if isinstance(value, date) else value


def _quoted(name: str | None) -> str:
    return database.ops.quote_name(name or "")


def _read_or_fail(read: Callable[[Answer], T], error: Exception, answer: Answer) -> T:
    if not answer.changed:
        raise error
    return read(answer)


def _count(answer: Answer) -> int:
    return answer.changed
