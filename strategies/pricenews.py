"""What is odd about prices, written down and told: feeds that disagree, prices that were not believed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.db import transaction

from marketdata.domain.clock import Clock
from marketdata.domain.orders import Quote
from marketdata.domain.prices import to_rupees
from marketdata.models import BrokerAccount
from strategies.alerts import announce, commit_alert
from strategies.announcing import Announcer
from strategies.domain.questions import Closed, Dispute, Doubted
from strategies.models import Alert, Strategy, StrategyEvent
from strategies.records import at, trading_day


class PriceNews:
    """Commits an event for each strategy it concerns, and one alert that is told once. Blocks."""

    def __init__(self, announcer: Announcer, clock: Clock) -> None:
        self._announcer = announcer
        self._clock = clock

    def disagree(self, dispute: Dispute) -> None:
        """Tell that a user's feeds disagree on a price."""
        names = {row.pk: str(row) for row in BrokerAccount.objects.filter(pk__in=dispute.prices)}
        shown = {names[pk]: str(to_rupees(price)) for pk, price in dispute.prices.items() if pk in names}
        told = ", ".join(f"{name} {price}" for name, price in shown.items())
        text = f"The feeds disagree on {dispute.symbol}: {told}"
        self._tell(dispute.user_id, dispute.symbol, "feeds_disagree", text, {"prices": shown})

    def disproved(self, doubted: Doubted, quote: Quote) -> None:
        """Tell that a quote spoke against a price, which was therefore not acted on."""
        name = BrokerAccount.objects.filter(pk=doubted.feed).first()
        detail = {"price": str(to_rupees(doubted.price)), "quote": str(to_rupees(quote.price))}
        text = (
            f"The feed of {name} told a price of {doubted.symbol} that is not believed: a quote asked for at once "
            "says otherwise. Nothing was sent. The stops stay armed; compare the price with your broker's."
        )
        self._tell(doubted.user_id, doubted.symbol, f"price_{doubted.why}", text, detail)

    def closed(self, closed: Closed) -> None:
        """Tell, once a day for each arming, that the market closed beyond a stop."""
        now, stop, price = self._clock.time(), closed.stop, to_rupees(closed.price)
        today = trading_day(now).isoformat()
        detail = {"price": str(price), "day": today, "epoch": stop.epoch}
        known = StrategyEvent.objects.filter(strategy=stop.strategy_id, kind="closed_beyond")
        if known.filter(detail__day=today, detail__epoch=stop.epoch).exists():
            return
        strategy = Strategy.objects.select_related("instrument").get(pk=stop.strategy_id)
        text = (
            f"{stop.symbol} traded at {price} after the close, beyond the stop of {strategy}. Nothing can be sold now: "
            "the first price of the next session decides."
        )
        with transaction.atomic():
            self._event(strategy, "closed_beyond", detail)
            self._alert(stop.user_id, "closed_beyond", text, strategy.pk)

    def exchange(self, user_ids: Collection[int], kind: str, text: str) -> None:
        """Tell users how an exchange is."""
        with transaction.atomic():
            for user_id in sorted(user_ids):
                self._alert(user_id, kind, text)

    # --- inside ---------------------------------------------------------------------------

    def _tell(self, user_id: int, symbol: str, kind: str, text: str, detail: Mapping[str, Any]) -> None:
        exchange, _, tradingsymbol = symbol.partition(":")
        with transaction.atomic():
            for strategy in Strategy.objects.filter(
                user=user_id,
                status=Strategy.Status.ACTIVE,
                instrument__exchange=exchange,
                instrument__tradingsymbol=tradingsymbol,
            ):
                self._event(strategy, kind, detail)
            self._alert(user_id, kind, text)

    def _event(self, strategy: Strategy, kind: str, detail: Mapping[str, Any]) -> None:
        when = at(self._clock.time())
        StrategyEvent.objects.create(strategy=strategy, at=when, kind=kind, detail=dict(detail))

    def _alert(self, user_id: int, kind: str, text: str, strategy_id: int | None = None) -> None:
        alert = commit_alert(
            user_id=user_id,
            kind=kind,
            text=text,
            at=at(self._clock.time()),
            strategy_id=strategy_id,
            urgency=Alert.Urgency.INFO,
        )
        if alert is not None:
            announce(alert, self._announcer)
