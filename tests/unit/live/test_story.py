from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from marketdata.models import BrokerAccount, Instrument
from strategies.live.story import Step, duration_text, evidence_of, slippage_of, steps_of
from strategies.models import Exit, ExitOrder, Strategy, StrategyEvent

NINE = datetime(2026, 11, 26, 9, 20, 0, 41_000, tzinfo=UTC)  # 14:50:00.041 IST
STRATEGY = Strategy(pk=1, instrument=Instrument(exchange="NSE", tradingsymbol="INFY", broker="zerodha"))


def at(milliseconds: float) -> datetime:
    return NINE + timedelta(milliseconds=milliseconds)


def an_exit(**evidence: object) -> Exit:
    return Exit(
        pk=5, strategy=STRATEGY, epoch=1, reason="stop_loss", quantity=10, state="done", created_at=at(3),
        trigger_price=Decimal("1489.5"), evidence=evidence,
    )  # fmt: skip


def touched() -> Exit:
    return an_exit(
        source="tick", price="1489.5000000", stop="1490.0000000", received_at=at(0).timestamp(),
        exchange_time=int(NINE.timestamp()), decided_at=at(0.4).timestamp(),
    )  # fmt: skip


def order(*fills: tuple[int, str], side: str = "SELL") -> list[ExitOrder]:
    return [
        ExitOrder(
            exit_id=5, tag=f"TG{number}", side=side, product="MIS", quantity=10, state="filled", sent_at=at(5),
            filled_quantity=count, average_price=Decimal(price),
        )
        for number, (count, price) in enumerate(fills)
    ]  # fmt: skip


def event(kind: str, milliseconds: float, **detail: object) -> StrategyEvent:
    return StrategyEvent(strategy=STRATEGY, at=at(milliseconds), kind=kind, detail=detail)


def test_the_story_goes_from_the_tick_to_the_last_fill_with_times_and_durations() -> None:
    events = [
        event("sl_triggered", 3),
        event("order_planned", 4, tag="TG0", side="SELL", quantity=10, product="MIS"),
        event("order_sending", 6, tag="TG0"),
        event("order_acked", 56, tag="TG0", order_id="2411"),
        event("order_filled", 1_306, tag="TG0", filled=10, quantity=10, average_price="1489.45"),
        event("exit_done", 1_307, text=""),
    ]
    told = steps_of(touched(), order((10, "1489.45")), events)

    assert [(step.time, step.title, step.after) for step in told] == [
        ("14:50:00.041", "Tick received", ""),
        ("14:50:00.041", "Decided", "0.4 ms"),
        ("14:50:00.044", "Written down", "2.6 ms"),
        ("14:50:00.045", "Order prepared", "1.0 ms"),
        ("14:50:00.046", "Permit", "1.0 ms"),
        ("14:50:00.047", "Request", "1.0 ms"),
        ("14:50:00.097", "Accepted by the broker", "50 ms"),
        ("14:50:01.347", "Filled", "1.25 s"),
        ("14:50:01.348", "Done", "1.0 ms"),
    ]
    texts = {step.title: step.text for step in told}
    assert texts["Tick received"] == (
        "A tick shows NSE:INFY at 1,489.50. The exchange's time on it is 14:50:00 IST."
    )
    assert texts["Decided"] == "1,489.50 is below the stop of 1,490.00: the stop is touched."
    assert texts["Accepted by the broker"] == "The broker's order id is 2411."
    assert texts["Filled"] == "10 of 10 filled at 1,489.45 on average."


def test_the_broker_s_words_stand_verbatim() -> None:
    [*_, last] = steps_of(touched(), [], [event("order_rejected", 9, message="RMS:Margin Exceeds <b>")])
    assert (last.title, last.text) == ("Rejected", "The broker's words: RMS:Margin Exceeds <b>")


def test_an_exit_by_hand_says_who_asked() -> None:
    [first] = steps_of(an_exit(source="manual", by="anita"), [], [])
    assert first == Step(at(3), "Exit asked for", "Asked for by anita; no stop was touched.")


def test_slippage_is_exact_and_worse_counts_above_zero() -> None:
    found = slippage_of(touched(), order((3, "1489.45"), (7, "1489.40")))
    assert found is not None
    assert (found.filled, found.points, found.percent, found.rupees) == (
        10, Decimal("0.5850"), Decimal("0.04"), Decimal("5.85"),
    )  # fmt: skip
    assert found.text == (
        "Sold 10 at 1,489.415 on average: 0.585 points (0.04 %) below the stop of 1,490.00, ₹ 5.85 worse in all."
    )


@pytest.mark.parametrize(
    ("side", "price", "words"),
    [
        ("SELL", "1490", "exactly at the stop of 1,490.00."),
        ("SELL", "1491", "1.00 points (0.07 %) above the stop of 1,490.00, ₹ 10.00 better in all."),
        ("BUY", "1491", "1.00 points (0.07 %) above the stop of 1,490.00, ₹ 10.00 worse in all."),
        ("BUY", "1489", "1.00 points (0.07 %) below the stop of 1,490.00, ₹ 10.00 better in all."),
    ],
)
def test_both_sides_are_told_in_words(side: str, price: str, words: str) -> None:
    found = slippage_of(touched(), order((10, price), side=side))
    assert found is not None
    assert found.text.endswith(words)


def test_without_a_fill_or_its_price_nothing_is_compared() -> None:
    unpriced = order((10, "1"))
    unpriced[0].average_price = None
    assert slippage_of(touched(), unpriced) is slippage_of(touched(), []) is None
    assert slippage_of(an_exit(source="manual"), order((10, "1490"))) is None


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.0004, "0.4 ms"), (0.312, "312 ms"), (2.514, "2.51 s"), (75, "75.00 s")]
)
def test_durations_read_as_people_say_them(seconds: float, said: str) -> None:
    assert duration_text(seconds) == said


def test_the_evidence_is_told_by_name() -> None:
    row = touched()
    row.strategy.account = BrokerAccount(name="Mine")
    row.evidence["gate"] = {"decision": "accepted", "phase": "open", "age_s": 0.041}
    assert evidence_of(row) == [
        ("Source", "tick"),
        ("Price", "1,489.50"),
        ("Stop", "1,490.00"),
        ("Account", "Mine"),
        ("Judged as", "accepted"),
        ("Session", "open"),
        ("Age on arrival", "0.041 s"),
    ]
