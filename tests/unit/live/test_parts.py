from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from strategies.live.parts import PART_BYTES, in_parts
from tests.support.live import join

ROWS = st.lists(st.fixed_dictionaries({"id": st.integers(), "title": st.text(max_size=9)}), max_size=30)


def whole(found: list[dict[str, Any]]) -> dict[str, Any]:
    snapshot, *rest = found
    for part in rest:
        assert snapshot["more"]
        snapshot = join(snapshot, part)
    assert not snapshot["more"]
    return snapshot


@given(ROWS, ROWS, st.integers(1, 400))
def test_parts_are_together_what_went_in(strategies: list[Any], watch: list[Any], size: int) -> None:
    lists = {"exits": [], "strategies": strategies, "watch": watch}
    found = in_parts(7, lists, most=size, score={"a": 1})
    texts = [part.numbered(seq) for seq, part in enumerate(found, start=1)]

    assert whole([json.loads(text) for text in texts]) == {
        "type": "snapshot", "seq": len(texts), "at": 7, "more": False, "score": {"a": 1}, **lists,
    }  # fmt: skip


def test_no_part_is_larger_than_it_may_be_whatever_the_letters() -> None:
    rows = [{"id": n, "title": "सूचकांक" * 10} for n in range(3_000)]
    texts = [part.numbered(1) for part in in_parts(7, {"strategies": rows})]

    assert len(texts) > 1
    assert max(len(text.encode()) for text in texts) <= PART_BYTES + 100
