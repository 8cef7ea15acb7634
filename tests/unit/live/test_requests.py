from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategies.live.requests import Ack, BadRequest, Pause, Resume, WantSnapshot, Watch, read


def test_the_documented_messages_are_read() -> None:
    assert read('{"type":"ack","seq":7}') == Ack(7)
    assert read('{"type":"snapshot"}') == WantSnapshot()
    assert read('{"type":"pause"}') == Pause()
    assert read('{"type":"resume"}') == Resume()
    assert read('{"type":"watch","instruments":[" nse:infy "]}') == Watch(("NSE:INFY",), wanted=True)
    assert read('{"type":"unwatch","instruments":["NSE:INFY"]}') == Watch(("NSE:INFY",), wanted=False)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not JSON"),
        ("[" * 60_000, "not JSON"),
        ("[]", "not an object"),
        ('{"type":"sell"}', "'sell'"),
        ('{"type":{}}', "unknown message type"),
        ('{"type":"ack"}', "ack.seq is None"),
        ('{"type":"ack","seq":true}', "ack.seq is True"),
        ('{"type":"watch"}', "list of names"),
        ('{"type":"watch","instruments":[]}', "list of names"),
        ('{"type":"watch","instruments":[1]}', "list of names"),
        (json.dumps({"type": "watch", "instruments": ["NSE:A"] * 101}), "101 instruments"),
    ],
)
def test_a_refusal_names_what_was_wrong(text: str, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        read(text)


@given(st.text())
def test_nothing_but_a_bad_request_is_ever_raised(text: str) -> None:
    with pytest.raises(BadRequest):
        read(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_no_field_of_a_wrong_kind_gets_through(value: object) -> None:
    for kind, name in (("ack", "seq"), ("watch", "instruments")):
        try:
            request = read(json.dumps({"type": kind, name: value}))
        except BadRequest:
            continue
        assert isinstance(request, Ack | Watch)
