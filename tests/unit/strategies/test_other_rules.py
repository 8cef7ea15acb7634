"""Rules that do not exist yet go through the book and the monitor as they are.

One that moves with the price and one that is two others: nothing but the rule itself is new.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from strategies.domain.rules import NO_CEILING, NO_FLOOR, Bounds, FixedStop, Judgement, Rule
from strategies.domain.stopbook import StopBook
from tests.support.watching import INFY, House, stop


@dataclass(frozen=True)
class Target:
    """A long position is left when the price has risen to ``price``."""

    price: int

    def judge(self, price, memory=None, /):
        return Judgement(memory, "target" if price >= self.price else "")

    def bounds(self, _=None, /):
        return Bounds(ceiling=self.price)


@dataclass(frozen=True)
class Trailing:
    """A long position is left ``distance`` below the highest price since ``start``."""

    start: int
    distance: int

    def judge(self, price, peak=None, /):
        peak = max(self.start, peak or 0)
        if price > peak:
            return Judgement(price)
        return Judgement(
            peak if peak > self.start else None, "trailing" if price <= peak - self.distance else ""
        )

    def bounds(self, peak=None, /):
        peak = max(self.start, peak or 0)
        return Bounds(max(peak - self.distance, 0), peak + 1)


@dataclass(frozen=True)
class First:
    """Whichever of several rules is hit first; its memory is theirs."""

    rules: tuple[Rule, ...]

    def judge(self, price, memory=None, /):
        said = [rule.judge(price, own) for rule, own in self._each(memory)]
        reason = next((judgement.reason for judgement in said if judgement.is_hit), "")
        own = tuple(judgement.memory for judgement in said)
        return Judgement(own if any(part is not None for part in own) else None, reason)

    def bounds(self, memory=None, /):
        each = [rule.bounds(own) for rule, own in self._each(memory)]
        return Bounds(max(b.floor for b in each), min(b.ceiling for b in each))

    def _each(self, memory):
        return zip(self.rules, memory or (None,) * len(self.rules), strict=True)


@dataclass(frozen=True)
class Curious:
    """Another rule, with bounds narrower than they need be."""

    rule: Rule

    def judge(self, price, memory=None, /):
        return self.rule.judge(price, memory)

    def bounds(self, _=None, /):
        return Bounds(NO_FLOOR, NO_FLOOR + 1)


class Broken:
    """A rule with a fault of its own below 100."""

    def judge(self, price, memory=None, /):
        raise ZeroDivisionError("a fault")

    def bounds(self, _=None, /):
        return Bounds(100, NO_CEILING)


PRICE = st.integers(1000, 1190)  # none is so far from another that it would be held for a freak
SIMPLE = st.one_of(
    st.builds(FixedStop, PRICE, st.booleans()),
    st.builds(Target, PRICE),
    st.builds(Trailing, PRICE, st.integers(1, 50)),
)
RULES = SIMPLE | st.builds(First, st.tuples(SIMPLE, SIMPLE))


def test_a_target_and_a_stop_hold_a_price_between_them():
    book = StopBook(1, INFY, {})
    book.arm(stop(First((FixedStop(90, True), Target(120)))))
    assert (book.floor, book.ceiling) == (90, 120)
    assert [s.strategy_id for s in book.take(120)] == [1]
    assert (bool(book), book.floor, book.take(90)) == (False, 0, [])


def test_a_trailing_stop_rises_with_the_price_and_is_told_each_time():
    house = House()
    house.monitor.arm(stop(Trailing(start=100, distance=10)))
    house.tick(99, 105, 104, 112)
    house.tick(103)
    assert [(kept.memory, kept.bounds) for kept in house.stored] == [(112, Bounds(102, 113))]
    house.tick(102)
    assert [(b.reason, b.price, b.evidence()["stop"]) for b in house.breaches] == [
        ("trailing", 102, "0.0000102")
    ]


def test_what_was_stored_carries_on_in_another_process():
    house = House()
    house.monitor.arm(stop(Trailing(start=100, distance=10), memory=112))
    house.tick(103)
    assert not house.breaches
    house.tick(101)
    assert [breach.reason for breach in house.breaches] == ["trailing"]


def test_a_stored_memory_that_is_behind_does_not_replace_the_present_one():
    house, rule = House(), Trailing(start=100, distance=10)
    house.monitor.reconcile([stop(rule)])
    house.tick(112)
    house.tick(105)
    house.monitor.reconcile([stop(rule)])
    house.monitor.reconcile([stop(rule, quantity=20)])  # another quantity, the same rule
    house.tick(102)
    assert [(breach.stop.quantity, breach.reason) for breach in house.breaches] == [(20, "trailing")]


def test_a_new_arming_forgets_what_the_old_one_remembered():
    house, rule = House(), Trailing(start=100, distance=10)
    house.monitor.arm(stop(rule))
    house.tick(150)
    house.move(11)
    house.monitor.arm(stop(rule, epoch=2))
    house.tick(100)
    assert not house.breaches


def test_what_a_hit_stop_remembered_in_the_same_message_is_not_stored():
    house = House()
    house.monitor.arm(stop(Trailing(start=100, distance=10)))
    house.tick(112, 102)
    assert len(house.breaches) == 1
    assert not house.stored


def test_memory_that_cannot_be_stored_is_still_acted_on(caplog):
    def fail(stops):
        raise RuntimeError("no")

    house = House()
    house.monitor._on_memory = fail
    house.monitor.arm(stop(Trailing(start=100, distance=10)))
    house.tick(112)
    house.tick(102)
    assert [breach.reason for breach in house.breaches] == ["trailing"]
    assert "could not be handed over" in caplog.text


def test_a_rule_that_fails_costs_no_other_stop_and_stays_armed(caplog):
    caplog.set_level(logging.ERROR)
    house = House()
    house.monitor.arm(stop(Broken()))
    house.arm(100, strategy_id=2)
    house.tick(99)
    assert house.hit() == [(2, 99)]
    assert "strategy 1 could not be judged" in caplog.text
    assert house.monitor.armed_count == 1
    assert house.monitor._watches[1]["NSE:INFY"].book.floor == 100


def test_a_rule_that_wants_to_see_every_price_sees_it_and_has_nothing_stored():
    house = House()
    house.monitor.arm(stop(Curious(FixedStop(100, True))))
    house.tick(105, 101)
    assert (house.breaches, house.stored) == ([], [])
    house.tick(100)
    assert house.hit() == [(1, 100)]


@given(RULES, st.lists(PRICE, max_size=30))
def test_inside_the_bounds_nothing_changes_and_outside_it_does(rule, prices):
    memory = None
    for price in prices:
        judgement = rule.judge(price, memory)
        assert (judgement == Judgement(memory)) is (price in rule.bounds(memory))
        if judgement.is_hit:
            return
        memory = judgement.memory


@given(st.lists(RULES, max_size=8), st.lists(st.lists(PRICE, min_size=1, max_size=5), max_size=10))
def test_any_rules_agree_with_judging_every_stop_on_every_tick(rules, batches):
    house, left, expected = House(), dict(enumerate(rules)), []
    memories = dict.fromkeys(left)
    for pk, rule in left.items():
        house.monitor.arm(stop(rule, strategy_id=pk))
    for batch in batches:
        for price in batch:
            for pk, rule in list(left.items()):
                judgement = rule.judge(price, memories[pk])
                memories[pk] = judgement.memory
                if judgement.is_hit:
                    expected.append((pk, price, judgement.reason))
                    del left[pk]
        house.tick(*batch)
        watched = house.monitor._armed
        assert {pk: kept.memory for pk, kept in watched.items()} == {pk: memories[pk] for pk in left}
        for watch in house.monitor._watches.get(1, {}).values():
            kept = {*watch.book._floors, *watch.book._ceilings}
            assert {one.strategy_id for one in kept} == left.keys(), "bounds that moved leave nothing behind"
    found = [(b.stop.strategy_id, b.price, b.reason) for b in house.breaches]
    assert sorted(found) == sorted(expected)
