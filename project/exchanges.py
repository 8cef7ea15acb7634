"""Watches how exchanges are, and does what follows: hold while one has halted, tell, look again after it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from marketdata.domain.clock import Clock
from marketdata.domain.errors import BrokerError
from marketdata.domain.exchanges import ExchangeNews, ExchangeWatch, Kind
from marketdata.domain.gate import Gate
from marketdata.domain.sessions import Phase
from marketdata.feeds import FeedHooks, FeedReport
from strategies.engine import ExitEngine

logger = logging.getLogger(__name__)

ALIVE_S = 5.0
"""A feed with a frame this recent is alive."""

_HALTED = (
    "{exchange} has told no new price for a minute although the feed is alive: it seems to have halted. "
    "Stops are held until it goes on, and are then judged at once."
)
_LATE = (
    "{exchange} is trading although the calendar has it closed now, so stops on it do not trigger. If this is a "
    "special session, enter its hours under Market days in the admin: they count within a minute."
)
_CLOSED = (
    "{exchange} is trading although the calendar has it closed today. Stops trigger by fresh prices all the same; "
    "enter the hours under Market days in the admin."
)


class Exchanges:
    """Looked at with every report."""

    def __init__(self, engine: ExitEngine, gate: Gate, hooks: FeedHooks, clock: Clock) -> None:
        self._engine = engine
        self._gate = gate
        self._hooks = hooks
        self._clock = clock
        self._watch = ExchangeWatch()
        self._looking: set[asyncio.Task[None]] = set()

    def look(self, reports: Sequence[FeedReport]) -> None:
        """Judge how the exchanges are now; returns at once."""
        is_alive = any(_is_alive(report) for report in reports)
        news = self._watch.look(
            self._gate.packet_times(), self._clock.time(), self._gate.calendar, is_alive=is_alive
        )
        self._gate.halted = self._watch.halted()
        for one in news:
            self._tell(one)
        if any(one.kind is Kind.RESUMED for one in news):  # what happened meanwhile is a gap like any other
            for report in reports:
                if report.health.is_connected:
                    self._look_again(report)

    # --- inside ---------------------------------------------------------------------------

    def _tell(self, news: ExchangeNews) -> None:
        if news.kind is Kind.RESUMED:
            logger.warning("%s goes on", news.exchange)
            return
        wording = _CLOSED if news.phase is Phase.CLOSED_DAY else _LATE
        text = (_HALTED if news.kind is Kind.HALTED else wording).format(exchange=news.exchange)
        logger.warning("%s", text)
        if users := self._engine.monitor.users_on(news.exchange):
            self._engine.checks.exchange(users, f"exchange_{news.kind}", text)

    def _look_again(self, report: FeedReport) -> None:
        task = asyncio.get_running_loop().create_task(self._judge(report))
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    async def _judge(self, report: FeedReport) -> None:
        account_id = report.wanted.config.account_id
        try:
            await self._hooks.judge_by_quotes(report.wanted.user_id, account_id)
        except BrokerError as exc:
            logger.warning("account %s: quotes were asked for after a halt: %s", account_id, exc)
        except Exception:
            logger.exception("account %s: quotes were asked for after a halt", account_id)


def _is_alive(report: FeedReport) -> bool:
    age_s = report.health.last_frame_age_s
    return report.health.is_connected and age_s is not None and age_s <= ALIVE_S
