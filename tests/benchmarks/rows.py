"""Which rows there are, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tests.benchmarks import (
    fanout,
    inside,
    order,
    receiving,
    redis_calls,
    restart,
    scaling,
    shipped,
    stored,
    wire,
)
from tests.benchmarks.figures import Row
from tests.benchmarks.plan import Plan

MEASURES: Mapping[str, Callable[[Plan], Iterable[Row]]] = {
    "decode": inside.path_to_bare,
    "armed": inside.armed,
    "instruments": inside.instruments,
    "memory": inside.memory,
    "growth": inside.growth,
    "redis": redis_calls.commands,
    "kite-3000": wire.kite_large,
    "kite-100": wire.kite_small,
    "kite-mixed": wire.kite_mixed,
    "dhan": wire.dhan,
    "transport": receiving.received,
    "decision": wire.decision,
    "shipped": shipped.measured,
    "order": order.measured,
    "fanout": fanout.fan_out,
    "restart": restart.measured,
    "stored": stored.measured,
    "scaling": scaling.judged,
}
