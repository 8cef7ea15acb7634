"""Whatever happens to exits, in whatever order: the promises hold.

The state machine drives the real ``step`` over a store and a broker in memory
(``tests.support.exit_house``), with crashes, two workers on one exit, clocks that jump and a
broker that lies. More of it: ``PYTEST_ARGS="--hypothesis-profile=thorough --timeout=0"``.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from marketdata.domain.orders import OrderStatus
from strategies.domain.events import ReadAccount
from strategies.domain.exits import ExitState, OrderState
from strategies.domain.record import ExitRecord, OrderRecord, Terms
from strategies.domain.rules import FixedStop
from strategies.domain.stopbook import StopBook
from strategies.domain.stops import Stop
from tests.support.exit_house import MODES, House, Worker, next_day, told_of_state
from tests.support.ledger import Ledger, TrueOrder
from tests.support.steps import SYMBOL

QUANTITY = st.integers(1, 100)
WHICH = st.integers(0, 20)
PRICES = st.integers(90, 110)


class Exits(RuleBasedStateMachine):
    @initialize(
        is_long=st.booleans(),
        held=st.integers(50, 150),
        may_resend=st.booleans(),
        freeze=st.sampled_from([None, None, 40]),
        modes=st.lists(st.sampled_from(MODES), max_size=4),
    )
    def begin(self, is_long, held, may_resend, freeze, modes):
        self.house = House(Ledger(held if is_long else -held), is_long)
        self.terms = Terms(may_resend=may_resend, freeze_quantity=freeze)
        self.workers: list[Worker] = []
        self.stops = StopBook(1, SYMBOL, {})
        self.epochs = {1: 0, 2: 0}
        self.armed: dict[int, int] = {}  # quantity by strategy
        self.breached: list[Stop] = []
        self.owners: dict[int, int] = {}  # strategy by exit
        self.left: set[tuple[int, int]] = set()
        self.house.modes.extend(modes)
        self.breach(1, 50)

    # --- stops --------------------------------------------------------------------------

    @rule(strategy=st.sampled_from([1, 2]), price=PRICES, quantity=QUANTITY)
    def arm_or_edit(self, strategy, price, quantity):
        if strategy in self.exiting():
            return
        self.epochs[strategy] += 1
        self.armed[strategy] = quantity
        rule = FixedStop(price, self.house.is_long)
        self.stops.arm(Stop(strategy, self.epochs[strategy], 1, SYMBOL, rule, quantity))

    @rule(strategy=st.sampled_from([1, 2]), quantity=QUANTITY)
    def breach(self, strategy, quantity):
        """Arm a stop and touch it."""
        self.arm_or_edit(strategy, 100, quantity)
        self.tick(100)
        self.commit_breaches()

    @rule(price=PRICES)
    def tick(self, price):
        for stop in self.stops.take(price):
            assert stop.rule.judge(price, None).is_hit
            self.breached.append(stop)

    @rule()
    @precondition(lambda self: self.breached)
    def commit_breaches(self):
        """A breach is of one arming: edited or exited meanwhile, it is of none."""
        for stop in self.breached:
            strategy = stop.strategy_id
            if (
                stop.epoch != self.epochs[strategy]
                or strategy in self.exiting()
                or strategy not in self.armed
            ):
                continue
            assert (strategy, stop.epoch) not in self.left, "one exit for each arming"
            self.left.add((strategy, stop.epoch))
            del self.armed[strategy]
            self.open_exit(strategy, stop.quantity)
        self.breached = []

    def open_exit(self, strategy, quantity):
        number = len(self.house.exits) + 1
        self.house.exits[number] = ExitRecord(
            number, ExitState.TRIGGERED, quantity, SYMBOL, "MIS", self.house.is_long, self.house.today,
            terms=self.terms,
        )  # fmt: skip
        self.house.tells[number] = []
        self.owners[number] = strategy
        self.workers.append(Worker(self.house, number))

    def exiting(self) -> set[int]:
        return {self.owners[e.id] for e in self.house.exits.values() if not e.state.is_final}

    # --- working ------------------------------------------------------------------------

    @rule(which=WHICH, steps=st.integers(1, 14))
    @precondition(lambda self: self.workers)
    def work(self, which, steps):
        worker = self.workers[which % len(self.workers)]
        for _ in range(steps):
            worker.advance()

    @rule(steps=st.integers(3, 9))
    def work_all(self, steps):
        for _ in range(steps):
            for worker in self.workers:
                worker.advance()

    @rule(which=WHICH, is_done=st.booleans(), restart_s=st.floats(0, 30))
    @precondition(lambda self: self.workers)
    def crash(self, which, is_done, restart_s):
        """The process dies before what it was about to do, or after it and before writing it down."""
        worker = self.workers[which % len(self.workers)]
        if is_done and not worker.is_over:
            worker.do()
        self.house.passes(restart_s)
        self.house.elapsed = restart_s  # of another boot
        self.workers = [Worker(self.house, e.id) for e in self.house.exits.values() if not e.state.is_final]

    @rule(which=WHICH, paused_s=st.sampled_from([0.0, 0.4, 0.6, 20.0]))
    @precondition(lambda self: 0 < len(self.workers) < 4)
    def take_over(self, which, paused_s):
        """Another takes the exit over; the first is only paused, and goes on whenever it likes."""
        self.house.passes(paused_s)
        self.workers.append(Worker(self.house, self.workers[which % len(self.workers)].exit_id))

    @rule()
    @precondition(lambda self: self.workers)
    def watch(self):
        """Ended exits are looked at to the end of the day."""
        house = self.house
        if house.is_readable and house.has_token:
            for exit_ in [e for e in house.exits.values() if e.state.is_final]:
                watcher = Worker(house, exit_.id)
                watcher.take(watcher.seen(house.moment(), house.ledger.view(), ReadAccount()))
                for _ in range(4):
                    watcher.advance()

    # --- the broker ---------------------------------------------------------------------

    @rule(modes=st.lists(st.sampled_from(MODES), min_size=1, max_size=4))
    def broker_replies(self, modes):
        self.house.modes.extend(modes)

    @rule(switch=st.sampled_from(["is_readable", "is_reachable", "has_token", "is_trading", "races"]))
    def something_fails_or_heals(self, switch):
        setattr(self.house, switch, not getattr(self.house, switch))

    @rule()
    def book_freezes_or_thaws(self):
        ledger = self.house.ledger
        ledger.frozen = None if ledger.frozen else ledger.view()

    @rule()
    def book_reveals(self):
        for order in self.house.ledger.orders.values():
            order.is_hidden = False

    @rule(which=WHICH, quantity=QUANTITY)
    @precondition(lambda self: self.live())
    def exchange_fills(self, which, quantity):
        live = self.live()
        self.house.ledger.fill(live[which % len(live)], quantity)

    @rule(which=WHICH)
    @precondition(lambda self: self.live())
    def exchange_cancels(self, which):
        live = self.live()
        self.house.ledger.cancel(live[which % len(live)].order_id)
        self.house.ledger.by_others += 1

    @rule(which=WHICH)
    @precondition(lambda self: self.cancelled())
    def cancelled_order_fills_late(self, which):
        gone = self.cancelled()[which % len(self.cancelled())]
        owner = next(e for e in self.house.exits.values() if e.order(gone.tag))
        self.house.excused.add(owner.id)  # the broker's doing; it has to be told
        self.house.ledger.fill(gone, gone.quantity)

    def live(self) -> list[TrueOrder]:
        return [o for o in self.house.ledger.orders.values() if not o.status.is_final]

    def cancelled(self) -> list[TrueOrder]:
        orders = self.house.ledger.orders.values()
        return [o for o in orders if o.is_ours and o.status is OrderStatus.CANCELLED]

    # --- the person, the clock ----------------------------------------------------------

    @rule(quantity=st.sampled_from([1, 5, 20, 1000]), rests=st.booleans())
    @precondition(lambda self: self.may_user_trade())
    def user_trades(self, quantity, rests):
        """Close all, sell a part, or leave an order of one's own in the book."""
        ledger = self.house.ledger
        held = abs(ledger.held)
        if held and (ledger.held > 0) == self.house.is_long:
            own = ledger.take("", self.house.side, min(quantity, held), is_ours=False)
            ledger.by_others += 1
            if not rests:
                ledger.fill(own, own.quantity)

    def may_user_trade(self) -> bool:
        """Only now and then: where nothing is left there is nothing to test."""
        return self.house.wall % 3 < 1

    @rule(which=WHICH)
    @precondition(lambda self: self.needing_a_person())
    def human_confirms(self, which):
        """A person has looked: what is not there is not there, and it is tried again."""
        waiting = self.needing_a_person()
        exit_ = waiting[which % len(waiting)]
        resumed = replace(exit_, resumed_at=self.house.wall, version=exit_.version + 1)
        self.house.exits[exit_.id] = resumed

    def needing_a_person(self) -> list[ExitRecord]:
        waiting = [e for e in self.house.exits.values() if e.state is ExitState.NEEDS_HUMAN]
        return [e for e in waiting if not any(map(self.is_there_unnoticed, e.orders))]

    def is_there_unnoticed(self, order: OrderRecord) -> bool:
        """An order is at the broker, or has filled there, and its record does not say so."""
        true = self.house.sent.get(order.tag)
        gone = (OrderState.UNKNOWN, OrderState.LOST, OrderState.REJECTED)
        return true is not None and order.state in gone and true.filled + true.unfilled > order.filled

    @rule(wall_s=st.sampled_from([-3600.0, -5.0, 5.0, 3600.0]))
    def clock_jumps(self, wall_s):
        self.house.wall += wall_s

    @rule(seconds=st.sampled_from([1.0, 12.0, 60.0]))
    def time_passes(self, seconds):
        self.house.passes(seconds)

    @rule()
    def day_rolls(self):
        next_day(self.house)

    # --- what always holds --------------------------------------------------------------

    @invariant()
    def nothing_exceeds_an_exit(self):
        for exit_ in self.exits():
            filled = sum(self.true_filled(order.tag) for order in exit_.orders)
            assert filled <= exit_.quantity or exit_.id in self.house.excused, "I2"

    @invariant()
    def no_record_is_more_optimistic_than_the_truth(self):
        for exit_ in self.exits():
            for order in exit_.orders:
                true = self.house.sent.get(order.tag)
                assert order.filled <= self.true_filled(order.tag)
                if order.state is OrderState.VOID:
                    assert true is None
                elif (
                    true is not None and exit_.id not in self.house.excused and order.day == self.house.today
                ):
                    assert true.filled + true.unfilled <= order.exposure

    @invariant()
    def every_order_at_the_broker_has_a_record(self):
        if hasattr(self, "house"):
            assert set(self.house.sent) <= {order.tag for order in self.house.all_orders()}

    @invariant()
    def an_unknown_fate_is_told(self):
        assert all(told_of_state(exit_) for exit_ in self.exits())

    @invariant()
    def more_than_was_wanted_is_told_once(self):
        for exit_ in self.exits():
            told = [text for text in self.house.tells[exit_.id] if " filled, " in text]
            assert len(told) == (exit_.filled > exit_.quantity)

    def exits(self) -> list[ExitRecord]:
        return list(self.house.exits.values()) if hasattr(self, "house") else []

    def true_filled(self, tag: str) -> int:
        true = self.house.sent.get(tag)
        return true.filled if true else 0

    # --- what comes of it in the end ----------------------------------------------------

    def teardown(self):
        """Once nothing fails any more every exit ends, or a person has been asked."""
        if not hasattr(self, "house"):
            return
        house = self.house
        house.is_readable = house.is_reachable = house.has_token = house.is_trading = True
        house.races, house.ledger.frozen = False, None
        house.modes.clear()
        self.book_reveals()
        for order in self.live():
            if not order.is_ours:
                house.ledger.cancel(order.order_id)
        for exit_ in self.exits():
            worker, until = Worker(house, exit_.id), house.elapsed + 120
            while not worker.is_over and house.elapsed < until:
                worker.advance()
            record = house.exits[exit_.id]
            assert record.state.is_final or record.state is ExitState.NEEDS_HUMAN, "I3"
        self.nothing_exceeds_an_exit()
        self.no_record_is_more_optimistic_than_the_truth()
        self.more_than_was_wanted_is_told_once()


TestExits = pytest.mark.timeout(600)(Exits.TestCase)
TestExits.settings = settings(max_examples=max(250, settings().max_examples), stateful_step_count=50)
