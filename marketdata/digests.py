"""Whether rows are as they were: the database tells of a group of them in one text, not of each."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Aggregate, Model, QuerySet, TextField
from django.db.models.expressions import Combinable
from django.db.models.sql.compiler import SQLCompiler

UNKNOWN = b""
"""In place of a digest: somewhere is a value that none can be made of. The rows have to be read."""

_SIZE = 16


class _Written(Aggregate):
    """A group of rows, written out; the first column puts them in order.

    SQLite writes numbers to the fifteen digits that are read of them. PostgreSQL sends the MD5.
    """

    output_field = TextField()

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any) -> Any:
        return self.as_sql(compiler, connection, template="json_group_array(json_array(%(expressions)s))")

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any) -> Any:
        first, _params = compiler.compile(self.source_expressions[0])
        template = f"md5(string_agg(ROW(%(expressions)s)::text, ',' ORDER BY {first}))"
        return self.as_sql(compiler, connection, template=template)


def digests(rows: QuerySet[Model], group: Combinable, columns: Sequence[str]) -> dict[Any, bytes]:
    """Return a digest of each group of rows over these columns: with the same one, they are the same. Blocks."""
    grouped = rows.order_by().annotate(group=group).values("group")
    try:
        written = grouped.annotate(written=_Written(*columns)).values_list("group", "written")
        return {key: blake2b(text.encode(), digest_size=_SIZE).digest() for key, text in written}
    except DatabaseError:
        # SQLite writes out no column that holds bytes. Where something else is wrong this raises again.
        return {row["group"]: UNKNOWN for row in grouped.distinct()}
