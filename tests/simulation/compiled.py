"""Django builds the SQL of one query anew each time it is asked; here once for each shape of query.

It takes two thirds of a session otherwise. The SQL and the parameters are the same as without it; what is
not a plain look-up of columns goes the ordinary way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db.models.expressions import Col
from django.db.models.lookups import Lookup
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.where import WhereNode

_as_sql, _get_converters = SQLCompiler.as_sql, SQLCompiler.get_converters
_known: dict[Any, Compiled | None] = {}


class Compiled(NamedTuple):
    """SQL around its WHERE, and what the compiler has found out about the columns."""

    before: str
    after: str
    found: dict[str, Any]
    converters: dict[int, Any]


class NotPlainError(Exception):
    """More than a look-up of columns."""


def install() -> None:
    """Have every query of this process built like this."""
    compiler: Any = SQLCompiler
    compiler.as_sql, compiler.get_converters = _quick_as_sql, _quick_converters


def _quick_as_sql(self: Any, with_limits: bool = True, with_col_aliases: bool = False) -> tuple[str, Any]:
    if type(self) is not SQLCompiler or not with_limits or with_col_aliases:
        return _as_sql(self, with_limits, with_col_aliases)
    try:
        key = _shape(self)
    except NotPlainError:
        return _as_sql(self, with_limits, with_col_aliases)
    known = _known.get(key)
    if known is None:
        sql, params = _as_sql(self, with_limits, with_col_aliases)
        if key not in _known:
            _known[key] = _taken_apart(self, sql, params)
        return sql, params
    query: Any = self.query
    where, params = self.compile(query.where)
    self.__dict__.update(known.found)
    self.__dict__["converters"] = known.converters
    return f"{known.before}{where}{known.after}", tuple(params)


def _taken_apart(compiler: Any, sql: str, params: Any) -> Compiled | None:
    query: Any = compiler.query
    where, own = compiler.compile(query.where)
    before, found, after = sql.partition(f"WHERE {where}")
    if not found or f"WHERE {where}" in after or list(own) != list(params):
        return None
    names = ("select", "klass_info", "annotation_col_map", "col_count", "has_extra_select", "where", "having",
             "qualify", "_meta_ordering")  # fmt: skip
    known = {name: getattr(compiler, name) for name in names if hasattr(compiler, name)}
    known.pop("where")
    fields = [column[0] for column in compiler.select[0 : compiler.col_count]]
    return Compiled(f"{before}WHERE ", after, known, _get_converters(compiler, fields))


def _quick_converters(self: Any, expressions: Any) -> dict[int, Any]:
    known = self.__dict__.get("converters")
    return _get_converters(self, expressions) if known is None else known


def _shape(compiler: Any) -> Any:
    query = compiler.query
    if (
        query.annotations or query.group_by is not None or query.combinator or query.explain_info
        or query.extra or query.distinct or query.is_empty() or not query.where.children or query.subquery
    ):  # fmt: skip
        raise NotPlainError
    related, (deferred, is_defer) = query.select_related, query.deferred_loading
    return (
        query.model, _shape_of_where(query.where), query.order_by, query.extra_order_by, query.default_ordering,
        query.standard_ordering, _frozen(related), frozenset(deferred), is_defer, query.values_select,
        tuple((col.alias, col.target) for col in _columns(query.select)), query.default_cols,
        query.low_mark, query.high_mark, query.select_for_update, compiler.elide_empty, compiler.using,
        tuple((alias, type(join), getattr(join, "join_type", "")) for alias, join in query.alias_map.items()),
        tuple(query.alias_refcount.items()),
    )  # fmt: skip


def _columns(select: Any) -> Any:
    if not all(type(column) is Col for column in select):
        raise NotPlainError
    return select


def _frozen(related: Any) -> Any:
    if isinstance(related, dict):
        return tuple((name, _frozen(below)) for name, below in related.items())
    return related


def _shape_of_where(node: Any) -> Any:
    if isinstance(node, WhereNode):
        return node.connector, node.negated, tuple(map(_shape_of_where, node.children))
    if not isinstance(node, Lookup) or type(node.lhs) is not Col or hasattr(node.rhs, "as_sql"):
        raise NotPlainError
    many = len(node.rhs) if isinstance(node.rhs, list | tuple | set | frozenset) else -1
    return type(node), node.lhs.alias, node.lhs.target, many
