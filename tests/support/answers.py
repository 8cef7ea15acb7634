"""Answers to order requests as brokers give them, and what each proves."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from marketdata.domain.orders import Outcome, RejectReason, WriteResult

_DATA = Path(__file__).parents[1] / "data"


@dataclass(frozen=True, slots=True)
class Answer:
    """One row of ``write_answers.json``."""

    status: int
    body: bytes
    outcome: Outcome
    reason: RejectReason | None

    def is_what(self, result: WriteResult) -> bool:
        """Tell whether this was understood."""
        same_class = result.reject_class is (self.reason and self.reason.reject_class)
        return (result.outcome, result.reject_reason) == (self.outcome, self.reason) and same_class


def answers(broker: str) -> list[Answer]:
    rows = json.loads((_DATA / broker / "rest" / "write_answers.json").read_text())
    return [
        Answer(
            row["status"],
            row["body"].encode(),
            Outcome(row["outcome"]),
            RejectReason(row["reason"]) if row["reason"] else None,
        )
        for row in rows
    ]
