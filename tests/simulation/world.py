"""The world of one session: accounts, brokers, prices, and the processes that run the engine."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from marketdata.database import FairDatabaseThread
from marketdata.domain.errors import BrokerError
from marketdata.domain.orders import OrderSnapshot
from marketdata.domain.prices import to_rupees
from marketdata.domain.ticks import Tick
from marketdata.models import BrokerAccount, Subscription
from marketdata.models import Instrument as InstrumentRow
from marketdata.ports import BrokerConfig
from marketdata.subscriptions import strategy_holder
from strategies.accounts import AccountDesks
from strategies.domain.breaches import Intent
from strategies.engine import ExitEngine
from strategies.journal import Journal
from strategies.models import Strategy
from tests.simulation import environment
from tests.simulation.broker import Broker, Gateway
from tests.simulation.log import EventLog
from tests.simulation.loop import Process, VirtualClock, VirtualLoop
from tests.simulation.market import BASE, TICK, Instrument, Market
from tests.simulation.oracle import Oracle
from tests.simulation.ports import DatabaseState, MemorySpool, SimulatedCalls, SimulatedThread, Trap

MORNING = datetime(2026, 11, 25, 4, 30, tzinfo=UTC).timestamp()  # ten o'clock in India
TICK_EVERY_S = 0.5
BREACHES_WITHIN_S = 28.0
STRATEGIES = 13


class Told:
    """Writes down what is announced."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.alerts: list[str] = []

    def tell(self, user_id: int, kind: str, body: Mapping[str, Any]) -> None:
        text = body.get("text") or body.get("sentence") or body.get("status") or ""
        if kind == "alert":
            self.alerts.append(str(text))
        self._log.write(f"told {user_id} {kind} {body.get('id', '')} {body.get('state', '')} {text}")

    def publish(self, channel: str, message: Mapping[str, Any]) -> None:
        self._log.write(f"published {channel} {message['strategy_id']}")


class Life:
    """One process of ours, from its start to its end."""

    def __init__(self, world: World, number: int) -> None:
        self.name = f"P{number}"
        self.process = Process(self.name)
        self.trap = Trap(spring=lambda: world.kill(self, "at a trap"))
        self.is_up = False
        self._world = world
        rng = partial(world.rng_for, self.name)
        thread = SimulatedThread(world.database, self.trap, rng("database"), world.log)
        journal = Journal(world.told, world.clock, rng("tags"), lambda _: None)
        desks = AccountDesks(self._gateway, world.clock, make_calls=self._calls)
        self._rng = rng("calls")
        self.engine: ExitEngine = self.process.context.run(
            ExitEngine, journal, desks, world.clock, is_trading=lambda _symbol, _now: world.market.is_open,
            spool=MemorySpool(world.spool), database=FairDatabaseThread(thread),
        )  # fmt: skip

    def begin(self) -> None:
        self._world.loop.start(self.process, self._run())

    async def _run(self) -> None:
        world = self._world
        try:
            await self.engine.start()
        except Exception as exc:  # noqa: BLE001 - a process that cannot start ends, and is started again
            world.log.write(f"{self.name} cannot start: {exc}")
            world.kill(self, "at its start")
            return
        self.is_up = True
        world.log.write(f"{self.name} is up")
        for account_id, user_id in world.users.items():
            await self._judge_by_quotes(account_id, user_id)

    async def _judge_by_quotes(self, account_id: int, user_id: int) -> None:
        for _ in range(5):
            try:
                await self.engine.judge_by_quotes(user_id, account_id)
            except Exception as exc:  # noqa: BLE001 - the feed's ticks judge the same
                if not isinstance(exc, BrokerError):
                    self._world.log.write(f"{self.name} quotes: {exc}")
                await self._world.clock.sleep(1.0)
            else:
                return

    def _gateway(self, config: BrokerConfig) -> Gateway:
        self._making = self._world.brokers[config.account_id]
        return Gateway(
            self._making, config.client_id, config.access_token.reveal(), self._world.clock.monotonic
        )

    def _calls(self) -> SimulatedCalls:
        return SimulatedCalls(self._making.network, self.trap, self._rng)


class World:
    """Everything that one seed makes. Built on a fresh copy of the database."""

    def __init__(self, seed: int, mode: str, *, keep_log: bool) -> None:
        self.seed = f"{mode}:{seed}"
        self.rng = self.rng_for("world")
        self.loop = VirtualLoop()
        self.loop.set_exception_handler(lambda _loop, _context: None)
        self.clock = VirtualClock(self.loop, MORNING)
        self.log = EventLog(self.loop.time, keep=keep_log)
        self.told = Told(self.log)
        self.database = DatabaseState()
        self.market = Market()
        self.spool: list[Intent] = []
        self.lives: list[Life] = []
        self.processes: list[Process] = []
        self.is_over = False
        environment.use_clock(lambda: datetime.fromtimestamp(self.clock.time(), UTC))
        environment.use_announcer(self.told)
        accounts = list(BrokerAccount.objects.order_by("pk"))
        self.users = {account.pk: account.user_id for account in accounts}
        self.brokers = {a.pk: self._broker(a) for a in accounts}
        self.oracle = Oracle(self.log, self.brokers)
        self._rises: dict[str, bool] = {}
        self.strategies: list[Strategy] = []
        self._make_market(accounts)

    def rng_for(self, *names: str) -> random.Random:
        """Return a source of chance of its own for one part, so that parts do not disturb each other."""
        return random.Random(":".join((self.seed, *names)))

    def _broker(self, account: BrokerAccount) -> Broker:
        name = "ZD"[account.pk % 2]
        broker = Broker(name, self.loop, self.market, self.rng_for("broker", name), self.log)
        broker.on_update = partial(self._pushed, account.pk)
        calm = self.rng.choice((0.2, 0.6, 1.0))
        broker.state.weights = {"fill": 1.0 / calm, "ok": 1.0 / calm}
        return broker

    # --- rows and prices ------------------------------------------------------------------

    def _make_market(self, accounts: list[BrokerAccount]) -> None:
        for symbol in environment.SYMBOLS:
            is_future = symbol.startswith("NFO")
            self.market.instruments[symbol] = Instrument(
                symbol, environment.LOT if is_future else 1, environment.FREEZE if is_future else None
            )
            self._rises[symbol] = self.rng.random() < 0.3
        for account in accounts:
            account.never_resend = self.rng.random() < 0.3
        BrokerAccount.objects.bulk_update(accounts, ["never_resend"])
        rows = {(r.broker, r.symbol): r for r in InstrumentRow.objects.all()}
        self.strategies = [self._strategy(self.rng.choice(accounts), rows) for _ in range(STRATEGIES)]
        Strategy.objects.bulk_create(self.strategies)
        Subscription.objects.bulk_create(
            Subscription(account=s.account, instrument=s.instrument, holder=strategy_holder(s.pk))
            for s in self.strategies
        )
        for strategy in self.strategies:
            self._hold(strategy)

    def _strategy(self, account: BrokerAccount, rows: Mapping[tuple[str, str], InstrumentRow]) -> Strategy:
        symbol = self.rng.choice(environment.SYMBOLS)
        rises, lot = self._rises[symbol], self.market.instruments[symbol].lot
        moves = round(self.rng.uniform(1.0, BREACHES_WITHIN_S) / TICK_EVERY_S) * self._step
        stop = to_rupees(BASE + moves * (1 if rises else -1))
        return Strategy(
            user_id=account.user_id, account=account, instrument=rows[account.broker, symbol],
            status=Strategy.Status.ACTIVE, epoch=1, position="SOLD" if rises else "BOUGHT",
            product=self.rng.choice(("MIS", "MIS", "NRML")), quantity=self.rng.randint(1, 6) * max(lot, 10),
            stop_loss=Decimal(stop),
        )  # fmt: skip

    @property
    def _step(self) -> int:
        return 5 * TICK

    def _hold(self, strategy: Strategy) -> None:
        """Hold what the strategy says, or less: several on one position may ask for more than there is."""
        held, key = self.brokers[strategy.account_id].ledger.held, (strategy.symbol, strategy.product)
        share = self.rng.choice((1.0, 1.0, 1.0, 0.6))
        sign = -1 if strategy.position == "SOLD" else 1
        lot = self.market.instruments[strategy.symbol].lot
        quantity = max(int(strategy.quantity * share) // lot, 1) * lot
        held[key] = held.get(key, 0) + sign * quantity

    def price_at(self, symbol: str, at: float) -> int:
        """Return where the price of an instrument is at a time: steadily towards every stop, then beyond."""
        moves = min(at, BREACHES_WITHIN_S + 2.0) / TICK_EVERY_S
        noise = self.rng.choice((0, 0, 0, 2, -2, 10, -10)) * TICK if at < BREACHES_WITHIN_S else 0
        return BASE + int(moves) * self._step * (1 if self._rises[symbol] else -1) + noise

    def tick(self) -> None:
        """Move every price, let orders trade, and have every process see it."""
        now = self.loop.time()
        for instrument in self.market.instruments.values():
            if instrument.locked is None:
                instrument.price = self.price_at(instrument.symbol, now)
        for account_id, user_id in self.users.items():
            ticks = [Tick(i.symbol, i.price, self.clock.time(), int(self.clock.time()))
                     for i in self.market.instruments.values()]  # fmt: skip
            for life in self.lives:
                if life.is_up and self.market.is_open:
                    monitor = life.engine.monitor
                    self.loop.in_process(life.process, partial(monitor.on_ticks, user_id, ticks, account_id))
        if not self.is_over:
            self.loop.at(now + TICK_EVERY_S, self.tick)

    def _pushed(self, account_id: int, snapshot: OrderSnapshot) -> None:
        for life in self.lives:
            hear = life.engine.on_order_update
            self.loop.in_process(life.process, partial(hear, account_id, snapshot))

    # --- processes ------------------------------------------------------------------------

    def start(self) -> Life:
        """Start a process."""
        life = Life(self, len(self.processes) + 1)
        self.lives.append(life)
        self.processes.append(life.process)
        self.log.write(f"{life.name} starts")
        life.begin()
        return life

    def kill(self, life: Life, where: str) -> None:
        """Kill a process, and start the next one a little later if it was the last."""
        if life not in self.lives:
            return
        self.log.write(f"{life.name} is killed {where}")
        life.process.kill()
        self.lives.remove(life)
        if not self.lives:
            self.after(self.rng.uniform(0.2, 3.0), self.ensure_one)

    def ensure_one(self) -> None:
        if not self.lives and not self.is_over:
            self.start()

    def after(self, seconds: float, call: Callable[[], object]) -> None:
        """Have something of the world done later."""
        self.loop.at(self.loop.time() + seconds, call)
