"""The contracts of the simulated exchange, from a date and a size.

The order is fixed and does not depend on the size: indices, equities, futures, then option
chains from the money outwards. A larger size only adds strikes further away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import count, islice

from marketdata.domain.instruments import Contract
from marketdata.domain.prices import to_units
from marketdata.simulator import expiries, listed

SMALLEST = 2_000
LARGEST = 150_000
_DERIVATIVE_CODES = 35_001  # the exchanges number derivatives afresh as they are listed
_OPTION_TICK = Decimal("0.05")


@dataclass(frozen=True, slots=True)
class Listing:
    """A contract as the exchange knows it.

    Attributes:
        contract: ``contract.token`` is the exchange's own code; brokers derive theirs.
        reference: Yesterday's close, units.
        band_percent: Width of the day's price band to each side; 0: no band.
        multiplier: Value of one unit of quantity: MCX and currencies trade in lots.
        tick: The price step in units.

    """

    contract: Contract
    reference: int
    band_percent: int
    multiplier: int = 1
    tick: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tick", to_units(self.contract.tick_size))  # needed at every print

    @property
    def symbol(self) -> str:
        return self.contract.symbol

    @property
    def is_index(self) -> bool:
        return self.contract.instrument_type == "INDEX"


@dataclass(frozen=True, slots=True)
class _Chain:
    """What the contracts of one underlying share."""

    exchange: str
    name: str
    spot: Decimal
    lot: int
    tick: Decimal
    freeze: int | None
    band_percent: int = 10
    multiplier: int = 1
    strike_step: Decimal = Decimal(0)
    dates: tuple[tuple[date, str], ...] = ()
    option_dates: tuple[tuple[date, str], ...] = ()


@dataclass(frozen=True, slots=True)
class _Series:
    """The options of one chain and expiry."""

    expiry: date
    code: str
    days: int


def universe(today: date, size: int = 3_000) -> list[Listing]:
    """Return ``size`` listings as of ``today``.

    Raises:
        ValueError: A size that the exchange does not have.

    """
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"{size} instruments: choose between {SMALLEST} and {LARGEST}")
    return list(islice(_all(today), size))


def _all(today: date) -> Iterator[Listing]:
    codes = count(_DERIVATIVE_CODES)
    chains = [*_index_chains(today), *_stock_chains(today), *_currencies(today), *_commodities(today)]
    yield from _indices()
    yield from _equities()
    for chain in chains:
        yield from (_future(chain, expiry, code, next(codes)) for expiry, code in chain.dates)
    with_options = [chain for chain in chains if chain.option_dates]
    for ring in count():
        for chain in with_options:
            for expiry, code in chain.option_dates:
                yield from _ring(chain, _Series(expiry, code, (expiry - today).days), ring, codes)


def _indices() -> Iterator[Listing]:
    for exchange, symbol, code, level in listed.rows(listed.INDICES):
        contract = Contract(exchange, symbol, code, symbol, "INDEX", 0, Decimal("0.05"))
        yield Listing(contract, to_units(Decimal(level)), band_percent=0)


def _equities() -> Iterator[Listing]:
    for symbol, name, nse, bse, price, _ in listed.rows(listed.EQUITIES):
        for exchange, code in (("NSE", nse), ("BSE", bse)):
            if code != "0":
                tick = equity_tick(Decimal(price))
                contract = Contract(exchange, symbol, code, name, "EQ", 1, tick)
                yield Listing(contract, _aligned(Decimal(price), tick), band_percent=10)


def equity_tick(price: Decimal) -> Decimal:
    """Return the price step of a share: finer below 250 rupees, coarser above 5,000."""
    steps = ((250, "0.01"), (5_000, "0.05"), (10_000, "0.5"), (20_000, "1"))
    return next((Decimal(step) for limit, step in steps if price < limit), Decimal(5))


def _index_chains(today: date) -> Iterator[_Chain]:
    for name, _, level, exchange, lot, freeze, step, weekday, weeks in listed.rows(listed.INDEX_DERIVATIVES):
        monthly = expiries.monthly(today, int(weekday), 3)
        weekly = expiries.weekly(today, int(weekday), int(weeks))
        options = sorted({*monthly, *weekly})
        yield _Chain(
            exchange, name, Decimal(level), int(lot), Decimal("0.1"), int(freeze),
            strike_step=Decimal(step), dates=tuple((d, expiries.month_code(d)) for d in monthly),
            option_dates=tuple((d, _option_code(d, int(weekday))) for d in options),
        )  # fmt: skip


def _option_code(expiry: date, weekday: int) -> str:
    return expiries.month_code(expiry) if expiries.is_monthly(expiry, weekday) else expiries.week_code(expiry)


def _stock_chains(today: date) -> Iterator[_Chain]:
    months = [(d, expiries.month_code(d)) for d in expiries.monthly(today, 1, 3)]
    for symbol, _, _, _, price, lot in listed.rows(listed.EQUITIES):
        if lot != "0":
            spot = Decimal(price)
            yield _Chain(
                "NFO", symbol, spot, int(lot), equity_tick(spot), int(lot) * 40,
                strike_step=_strike_step(spot), dates=tuple(months), option_dates=tuple(months[:2]),
            )  # fmt: skip


def _strike_step(spot: Decimal) -> Decimal:
    """Return about one per cent of the spot, as a round figure."""
    steps = [Decimal(s) for s in ("0.5", "1", "2.5", "5", "10", "20", "50", "100", "250", "500")]
    return next((step for step in steps if step * 100 >= spot), steps[-1])


def _currencies(today: date) -> Iterator[_Chain]:
    for name, rate, months, weeks in listed.rows(listed.CURRENCIES):
        monthly = expiries.monthly_on(today, 26, int(months))
        # No week ends after its month's own expiry: that one takes the week's place.
        fridays = [
            d for d in expiries.weekly(today, 4, int(weeks)) if d < expiries.month_day(d.year, d.month, 26)
        ]
        dates = {d: expiries.week_code(d) for d in fridays}
        dates |= {d: expiries.month_code(d) for d in monthly}
        options = tuple((d, expiries.month_code(d)) for d in monthly[:3]) if name == "USDINR" else ()
        yield _Chain(
            "CDS", name, Decimal(rate), 1, Decimal("0.0025"), 10_000, band_percent=3, multiplier=1_000,
            strike_step=Decimal("0.25"), dates=tuple(sorted(dates.items())), option_dates=options,
        )  # fmt: skip


def _commodities(today: date) -> Iterator[_Chain]:
    for name, price, tick, units, day, months, freeze, step in listed.rows(listed.COMMODITIES):
        dates = tuple((d, expiries.month_code(d)) for d in expiries.monthly_on(today, int(day), int(months)))
        yield _Chain(
            "MCX", name, Decimal(price), 1, Decimal(tick), int(freeze), band_percent=9, multiplier=int(units),
            strike_step=Decimal(step), dates=dates, option_dates=dates[:2] if step != "0" else (),
        )  # fmt: skip


def _future(chain: _Chain, expiry: date, code: str, number: int) -> Listing:
    price = chain.spot * (1 + Decimal("0.005") * (chain.dates.index((expiry, code)) + 1))
    contract = Contract(
        chain.exchange, f"{chain.name}{code}FUT", str(number), chain.name, "FUT", chain.lot, chain.tick,
        expiry, freeze_quantity=chain.freeze,
    )  # fmt: skip
    return Listing(contract, _aligned(price, chain.tick), chain.band_percent, chain.multiplier)


def _ring(chain: _Chain, series: _Series, ring: int, codes: Iterator[int]) -> Iterator[Listing]:
    """Yield calls and puts of the strikes ``ring`` steps from the money."""
    step = chain.strike_step
    centre = (chain.spot / step).to_integral_value(ROUND_HALF_EVEN) * step
    for distance in (ring, -ring) if ring else (0,):
        strike = centre + distance * step
        if strike > 0:
            for kind in ("CE", "PE"):
                yield _option(chain, series, kind, strike, next(codes))


def _option(chain: _Chain, series: _Series, kind: str, strike: Decimal, number: int) -> Listing:
    tick = chain.tick if chain.exchange == "CDS" else _OPTION_TICK
    contract = Contract(
        chain.exchange, f"{chain.name}{series.code}{strike.normalize():f}{kind}", str(number), chain.name, kind,
        chain.lot, tick, series.expiry, strike, chain.freeze,
    )  # fmt: skip
    price = _premium(chain.spot, strike, kind, series.days)
    return Listing(contract, _aligned(price, tick), 0, chain.multiplier)


def _premium(spot: Decimal, strike: Decimal, kind: str, days: int) -> Decimal:
    """Return a plausible price: what it is worth now, and time, most of it at the money."""
    intrinsic = max(Decimal(0), spot - strike if kind == "CE" else strike - spot)
    time_value = spot * Decimal("0.0035") * Decimal(days + 1).sqrt()
    distance = abs(spot - strike) / time_value
    return intrinsic + time_value / (1 + distance * distance)


def _aligned(price: Decimal, tick: Decimal) -> int:
    """Return ``price`` in units on the tick grid, one tick at least."""
    steps = max(Decimal(1), (price / tick).to_integral_value(ROUND_HALF_EVEN))
    return to_units(steps * tick)
