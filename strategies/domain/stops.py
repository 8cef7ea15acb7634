"""An armed stop."""

from __future__ import annotations

from dataclasses import dataclass, field

from strategies.domain.rules import Bounds, Memory, Rule


@dataclass(frozen=True, slots=True)
class Stop:
    """One armed stop. Two with different memories are the same stop at different times, and equal.

    Attributes:
        epoch: Which arming of the strategy this is; every edit makes a new one.
        rule: When the position is to be left.
        quantity: Units of the instrument held.
        memory: What the rule remembers.
        account_id: Where the position is; 0: not known.

    """

    strategy_id: int
    epoch: int
    user_id: int
    symbol: str
    rule: Rule
    quantity: int
    memory: Memory = field(default=None, compare=False)
    account_id: int = field(default=0, compare=False)

    @property
    def bounds(self) -> Bounds:
        return self.rule.bounds(self.memory)
