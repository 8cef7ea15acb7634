"""Serves the metrics of one ``run_listeners`` and measures what nothing else does; off without a port."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import NamedTuple

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest

from marketdata.database import DatabaseThread
from marketdata.domain.clock import Clock
from project.metrics.listeners import WorkerMetrics
from strategies.latency import FirstOrders

logger = logging.getLogger(__name__)

LAG_EVERY_S = 0.1
ORDERS_EVERY_S = 2.0
RETRY_S = 5.0


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Telemetry:
    """Runs beside the feeds. What fails here is logged, and costs no stop anything."""

    def __init__(
        self,
        metrics: WorkerMetrics,
        address: Address,
        database: DatabaseThread,
        clock: Clock,
        owned: Callable[[], Collection[int] | None],
    ) -> None:
        self._metrics = metrics
        self._address = address
        self._database = database
        self._clock = clock
        self._owned = owned
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(metrics)
        ProcessCollector(registry=self._registry)

    async def run(self) -> None:
        """Serve and measure until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve())
            tasks.create_task(self._measure_lag())
            tasks.create_task(self._follow_orders())

    async def _serve(self) -> None:
        """Serve at the address; where it is taken, say so once and take it when it is free."""
        app = web.Application()
        app.router.add_get("/metrics", self._answer)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        try:
            await self._listen(runner)
            logger.info("metrics are at http://%s/metrics", self._address)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        is_told = False
        while True:
            try:
                await web.TCPSite(runner, *self._address).start()
                return
            except OSError as exc:
                if not is_told:
                    logger.error(  # noqa: TRY400 - where it comes from says nothing more
                        "METRICS_PORT: %s cannot be used (%s), so there are no metrics until it is free. "
                        "Each process of a machine needs a port of its own.",
                        self._address,
                        exc.strerror or exc,
                    )
                is_told = True
            await self._clock.sleep(RETRY_S)

    async def _answer(self, _: web.Request) -> web.Response:
        return web.Response(
            body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST}
        )

    async def _measure_lag(self) -> None:
        while True:
            due = self._clock.monotonic() + LAG_EVERY_S
            await self._clock.sleep(LAG_EVERY_S)
            self._metrics.loop_lag.add(self._clock.monotonic() - due)

    async def _follow_orders(self) -> None:
        orders = FirstOrders(self._clock.time())
        while True:
            await self._clock.sleep(ORDERS_EVERY_S)
            for seconds in await self._database.run(orders.read, self._owned(), self._clock.time()):
                self._metrics.to_order.add(seconds)
