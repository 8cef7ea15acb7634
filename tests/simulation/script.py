"""What goes wrong in a session, when, and what the trader does meanwhile. All of it by the seed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

from marketdata.domain.orders import OrderRequest, Side
from marketdata.domain.prices import to_rupees
from marketdata.models import BrokerAccount
from strategies import services
from strategies.domain.exits import ExitState
from strategies.models import Exit, Strategy
from strategies.services import StrategyError
from tests.simulation.broker import Broker
from tests.simulation.ledger import VIEWS
from tests.simulation.market import TICK
from tests.simulation.world import World

FROZEN = (VIEWS, VIEWS, ("orders",), ("positions",), ("orders", "trades"), ("trades",))
DAY_S = 86_400.0


class Script:
    """Draws faults and deeds for one session and plays them."""

    def __init__(self, world: World, until: float) -> None:
        self._world = world
        self._rng = world.rng_for("script")
        self._until = until
        kinds: dict[Callable[[], None], int] = {
            self._reads_fail: 10, self._connections_fail: 5, self._views_freeze: 12, self._token_dies: 4,
            self._database_locks: 6, self._database_slows: 4, self._database_errs: 6, self._commit_unsure: 6,
            self._killed: 6, self._killed_at_commit: 12, self._killed_at_write: 10, self._stopped: 6,
            self._two_owners: 4, self._restarted: 4, self._clock_set: 4, self._market_halts: 3,
            self._locked_at_limit: 4, self._day_ends: 1,
            self._closes_by_hand: 4, self._sells_part: 4, self._converts: 2, self._own_exit: 4,
            self._cancels_ours: 4, self._moves_stop: 4, self._pauses: 1, self._exits_now: 4, self._retries: 6,
            self._abandons: 1,
        }  # fmt: skip
        count = self._rng.randint(6, 14)
        for kind in self._rng.choices(list(kinds), list(kinds.values()), k=count):
            world.loop.at(self._rng.uniform(0.5, until), partial(self._play, kind))
        for _ in range(self._rng.randint(1, 6)):
            world.loop.at(self._rng.uniform(8.0, until), partial(self._play, self._retries))

    def _play(self, kind: Callable[[], None]) -> None:
        if not self._world.is_over and self._world.loop.time() <= self._until:
            kind()

    def _fault(self, detail: str = "", kind: str = "") -> None:
        self._world.log.fault(kind or _caller(), detail)

    def _for(self, longest: float) -> float:
        return self._rng.uniform(0.3, longest)

    def _a_broker(self) -> Broker:
        return self._rng.choice(list(self._world.brokers.values()))

    # --- the broker -----------------------------------------------------------------------

    def _reads_fail(self) -> None:
        broker, how = self._a_broker(), self._rng.choice(("502 Bad Gateway", "timeout", "html"))
        self._world.log.fault("reads fail", f"{broker.name} {how}")
        broker.state.failing_reads = how
        self._world.after(self._for(8.0), partial(setattr, broker.state, "failing_reads", ""))

    def _connections_fail(self) -> None:
        broker = self._a_broker()
        self._world.log.fault("connections refused", broker.name)
        broker.state.is_refusing = True
        self._world.after(self._for(5.0), partial(setattr, broker.state, "is_refusing", False))

    def _views_freeze(self) -> None:
        broker, views = self._a_broker(), self._rng.choice(FROZEN)
        self._world.log.fault("views freeze", f"{broker.name} {views}")
        broker.ledger.freeze(views)
        self._world.after(self._rng.choice((3.0, 10.0, 30.0)), partial(broker.ledger.thaw, views))

    def _token_dies(self) -> None:
        account_id = self._rng.choice(list(self._world.brokers))
        broker = self._world.brokers[account_id]
        number = int(broker.state.token.partition("-")[2]) + 1
        self._world.log.fault("token dies", broker.name)
        broker.state.token = f"token-{number}"
        self._world.after(self._for(6.0), partial(self.log_in, account_id))

    def log_in(self, account_id: int) -> None:
        """Have the journal's database learn the token that works."""
        row = BrokerAccount.objects.get(pk=account_id)
        row.access_token = self._world.brokers[account_id].state.token
        row.save(update_fields=["access_token"])

    # --- the database ---------------------------------------------------------------------

    def _database_locks(self) -> None:
        self._world.log.fault("database locked")
        self._world.database.is_locked = True
        self._world.after(self._for(6.0), partial(setattr, self._world.database, "is_locked", False))

    def _database_slows(self) -> None:
        self._world.log.fault("database slow")
        self._world.database.is_slow = True
        self._world.after(self._for(4.0), partial(setattr, self._world.database, "is_slow", False))

    def _database_errs(self) -> None:
        self._world.log.fault("database errors")
        self._world.database.errors += self._rng.randint(1, 4)

    def _commit_unsure(self) -> None:
        self._world.database.unsure += self._rng.randint(1, 2)

    # --- processes ------------------------------------------------------------------------

    def _killed(self) -> None:
        self._world.log.fault("killed")
        for life in self._world.lives[:1]:
            self._world.kill(life, "anywhere")

    def _killed_at_commit(self) -> None:
        self._set_trap("units", 12)

    def _killed_at_write(self) -> None:
        self._set_trap("writes", 4)

    def _set_trap(self, what: str, within: int) -> None:
        for life in self._world.lives[:1]:
            life.trap.is_after = self._rng.random() < 0.6
            setattr(life.trap, what, self._rng.randint(1, within))
            self._world.log.fault(f"killed at {what}", f"{life.name} in {getattr(life.trap, what)}")

    def _stopped(self) -> None:
        """SIGSTOP, perhaps another owner meanwhile, SIGCONT."""
        if not self._world.lives:
            return
        life = self._world.lives[0]
        self._world.log.fault("stopped", life.name)
        life.process.stop()
        if self._rng.random() < 0.5:
            self._world.after(self._for(2.0), self._world.start)
        self._world.after(self._for(8.0), partial(life.process.go_on, self._world.loop))

    def _two_owners(self) -> None:
        self._world.log.fault("two owners")
        self._world.start()
        self._world.after(self._for(8.0), self._one_dies)

    def _one_dies(self) -> None:
        if len(self._world.lives) > 1:
            self._world.kill(self._rng.choice(self._world.lives), "of two")

    def _restarted(self) -> None:
        """SIGTERM: the process ends in its own time."""
        for life in self._world.lives[:1]:
            self._world.log.fault("restarted", life.name)

            async def end(life: object = life) -> None:
                await life.engine.stop()  # type: ignore[attr-defined]
                self._world.kill(life, "itself")  # type: ignore[arg-type]

            self._world.loop.start(life.process, end())

    def _clock_set(self) -> None:
        seconds = self._rng.choice((2.0, -2.0, 30.0, -30.0, 600.0, -600.0))
        self._world.log.fault("clock set", f"{seconds:+}")
        self._world.clock.shift += seconds

    # --- the market -----------------------------------------------------------------------

    def _market_halts(self) -> None:
        self._world.log.fault("market halts")
        self._world.market.is_open = False
        self._world.after(self._for(8.0), partial(setattr, self._world.market, "is_open", True))

    def _locked_at_limit(self) -> None:
        symbol = self._rng.choice(list(self._world.market.instruments))
        self._world.log.fault("locked at the limit", symbol)
        self._world.market.lock(symbol, self._rng.choice((Side.SELL, Side.BUY)))
        self._world.after(self._for(10.0), self._world.market.unlock)

    def _day_ends(self) -> None:
        self._world.log.fault("day ends")
        self._world.clock.shift += DAY_S
        for broker in self._world.brokers.values():
            broker.ledger.end_day()

    # --- the trader -----------------------------------------------------------------------

    def _closes_by_hand(self) -> None:
        self._trade_by_hand(1.0)

    def _sells_part(self) -> None:
        self._trade_by_hand(self._rng.uniform(0.1, 0.9))

    def _trade_by_hand(self, share: float) -> None:
        broker = self._a_broker()
        open_ones = [key for key, quantity in broker.ledger.held.items() if quantity]
        if not open_ones or not self._world.market.is_open:
            return
        key = self._rng.choice(open_ones)
        held = broker.ledger.held[key]
        request = self._by_hand(key, -held, max(int(abs(held) * share), 1), None)
        self._world.log.fault("trades by hand", f"{broker.name} {request.side} {request.quantity} {key}")
        order = broker.ledger.book(request, ours=False)
        broker.trade(order, order.quantity)

    def _own_exit(self) -> None:
        broker = self._a_broker()
        open_ones = [key for key, quantity in broker.ledger.held.items() if quantity]
        if not open_ones:
            return
        key = self._rng.choice(open_ones)
        held, price = broker.ledger.held[key], self._world.market.instruments[key[0]].price
        limit = to_rupees(price + (200 if held > 0 else -200) * TICK)
        broker.ledger.book(self._by_hand(key, -held, abs(held), limit), ours=False)
        self._world.log.fault("own exit order", f"{broker.name} {key}")

    @staticmethod
    def _by_hand(key: tuple[str, str], sign: int, quantity: int, limit: Decimal | None) -> OrderRequest:
        return OrderRequest("", key[0], Side.BUY if sign > 0 else Side.SELL, quantity, key[1], limit)

    def _converts(self) -> None:
        broker = self._a_broker()
        mis = [key for key, quantity in broker.ledger.held.items() if quantity and key[1] == "MIS"]
        if mis:
            symbol, product = self._rng.choice(mis)
            self._world.log.fault("converts", f"{broker.name} {symbol}")
            broker.ledger.convert(symbol, product, "NRML")

    def _cancels_ours(self) -> None:
        broker = self._a_broker()
        if live := broker.ledger.live():
            order = self._rng.choice(live)
            self._world.log.fault("cancels by hand", order.order_id)
            broker.by_hand(order)

    def _moves_stop(self) -> None:
        strategy = self._a_strategy()
        stop = (strategy.stop_loss or Decimal(0)) + self._rng.choice((-2, -1, 1, 2))
        self._ask("moves the stop", partial(services.update_stop, strategy, stop))

    def _pauses(self) -> None:
        strategy = self._a_strategy()
        self._ask("stops a strategy", partial(services.stop_strategy, strategy))

    def _exits_now(self) -> None:
        strategy = self._a_strategy()
        self._ask("exits now", partial(services.exit_now, strategy))

    def _retries(self) -> None:
        for row in self._waiting():
            if self._is_known_absent(row):
                self._ask("asks to try again", partial(services.retry_exit, row))

    def _abandons(self) -> None:
        for row in self._waiting()[:1]:
            self._ask("ends an exit", partial(services.abandon_exit, row))

    def _a_strategy(self) -> Strategy:
        pk = self._rng.choice(self._world.strategies).pk
        return Strategy.objects.select_related("account", "instrument").get(pk=pk)

    @staticmethod
    def _waiting() -> list[Exit]:
        rows = Exit.objects.filter(state=ExitState.NEEDS_HUMAN).order_by("pk")
        return list(rows.select_related("strategy__instrument", "strategy__account"))

    def _is_known_absent(self, row: Exit) -> bool:
        """A person who asks for another try has looked: nothing of unknown fate is at the broker."""
        unknown = row.orders.filter(state__in=("unknown", "sending")).values_list("tag", flat=True)
        ledger = self._world.brokers[row.strategy.account_id].ledger
        return not any(tag in ledger.by_tag or tag in ledger.flying for tag in unknown)

    def _ask(self, what: str, deed: Callable[[], object]) -> None:
        if self._world.database.is_locked:
            return
        try:
            deed()
        except StrategyError as exc:
            self._world.log.write(f"trader {what}: {exc}")
        else:
            self._world.log.fault(what)


def _caller() -> str:
    return "fault"
