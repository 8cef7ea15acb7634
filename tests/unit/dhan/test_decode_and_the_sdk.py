"""The same bytes read by the SDK: where the two agree, and where the SDK is wrong."""

from __future__ import annotations

import struct
from decimal import Decimal

import pytest
from dhanhq.marketfeed import MarketFeed
from hypothesis import given
from hypothesis import strategies as st

from marketdata.brokers.dhan import decode as codec
from marketdata.brokers.dhan.decode import OpenInterest
from marketdata.domain.prices import to_rupees
from tests.support import dhan_frames as frames
from tests.support.dhan_frames import INFY, IST, SBIN
from tests.unit.dhan.test_decode import NIFTY, NOW, USD, decoded, only, rupees

ORACLE = MarketFeed.__new__(MarketFeed)  # its constructor would set another event loop for this thread
ORACLE.on_close = None

prices = st.integers(1, 400_000 * 20).map(lambda n: n / 20)
times = st.integers(IST + 1, 2**32 - 1)
securities = st.tuples(st.sampled_from([1, 2, 4, 5, 8]), st.integers(0, 2**32 - 1))


@given(
    st.one_of(
        st.builds(frames.ticker, securities, prices, times),
        st.builds(frames.quote, securities, prices, times),
        st.builds(frames.full, securities, prices, times, prices, prices),
    )
)
def test_the_sdk_reads_the_same(data: bytes) -> None:
    mine, theirs = only(data), ORACLE.process_data(data)
    assert mine.symbol == f"{theirs['exchange_segment']}:{theirs['security_id']}"
    assert f"{to_rupees(mine.price):.2f}" == theirs["LTP"]
    assert mine.exchange_time is not None
    india = mine.exchange_time + (0 if abs(mine.exchange_time - NOW) <= 30 else IST)
    assert ORACLE.utc_time(india) == theirs["LTT"]
    for side in ("bid", "ask"):
        price = getattr(mine, side)
        assert (price is None) == ("depth" not in theirs)
        if price is not None:
            assert f"{to_rupees(price):.2f}" == theirs["depth"][0][f"{side}_price"]


def test_the_sdk_reads_the_other_kinds_the_same() -> None:
    interest = frames.packet(codec.OPEN_INTEREST, (2, 7), struct.pack("<I", 12_345))
    assert decoded(interest).notes == [OpenInterest((2, 7), ORACLE.process_data(interest)["OI"])]
    close = frames.packet(codec.PREVIOUS_CLOSE, NIFTY, struct.pack("<fI", 24_512.65, 3))
    theirs = ORACLE.process_data(close)
    assert (theirs["prev_close"], theirs["prev_OI"]) == ("24512.65", 3)


class TestWhereTheSdkIsWrong:
    def test_it_cuts_currency_prices(self) -> None:
        data = frames.ticker(USD, 83.1275, 1)
        assert ORACLE.process_data(data)["LTP"] == "83.13"
        assert rupees(data) == Decimal("83.1275")

    def test_it_keeps_the_float32s_error(self) -> None:
        data = frames.ticker((5, 1), 262_144.05, 1)
        assert ORACLE.process_data(data)["LTP"] == "262144.06"
        assert rupees(data, {(5, 1): "0.05"}) == Decimal("262144.05")

    def test_it_reads_the_first_packet_of_a_frame_only(self) -> None:
        data = frames.ticker(INFY, 100.0, 1) + frames.ticker(SBIN, 800.0, 1)
        assert ORACLE.process_data(data)["security_id"] == INFY[1]
        assert len(decoded(data).ticks) == 2

    def test_it_calls_indias_wall_clock_utc(self) -> None:
        data = frames.ticker(INFY, 100.0, 9 * 3600 + 15 * 60 + 86_400 * 20_000)
        assert ORACLE.process_data(data)["LTT"] == "09:15:00"
        time = only(data).exchange_time
        assert time is not None
        assert ORACLE.utc_time(time) == "03:45:00"

    def test_it_says_markets_open_whatever_happened(self) -> None:
        assert ORACLE.process_data(frames.packet(codec.MARKET_STATUS, INFY)) == "Markets Open"

    def test_it_keeps_the_reason_of_a_disconnect_to_itself(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert ORACLE.process_data(frames.disconnect(808)) is None
        assert "Invalid Client ID" in capsys.readouterr().out  # the documentation: authentication failed
        assert decoded(frames.disconnect(808)).disconnect == 808

    def test_it_breaks_on_a_short_packet(self) -> None:
        with pytest.raises(struct.error):
            ORACLE.process_data(frames.ticker(INFY, 100.0)[:12])
