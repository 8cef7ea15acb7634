"""What the exchange holds, as Kite's JSON."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from marketdata.simulator.accounts import Account, Holding, Position
from marketdata.simulator.instrument import Instrument, Level
from marketdata.simulator.orders import Kind, Order, Stage, Status
from marketdata.simulator.values import moment, number

Json = dict[str, Any]
_STATUS = {
    Status.RECEIVED: "PUT ORDER REQ RECEIVED",
    Status.WAITING: "TRIGGER PENDING",
    Status.OPEN: "OPEN",
    Status.COMPLETE: "COMPLETE",
    Status.CANCELLED: "CANCELLED",
    Status.REJECTED: "REJECTED",
}
_PASSED = {
    Status.RECEIVED: ("PUT ORDER REQ RECEIVED", "VALIDATION PENDING", "OPEN PENDING"),
    Status.CANCELLED: ("CANCEL PENDING", "CANCELLED"),
}
_TYPE = {Kind.MARKET: "MARKET", Kind.LIMIT: "LIMIT", Kind.STOP_LIMIT: "SL", Kind.STOP_MARKET: "SL-M"}


def order(item: Order, token: int) -> Json:
    """Return one row of the order book."""
    ticket, details = item.ticket, dict(item.ticket.details)
    exchange, symbol = ticket.symbol.split(":", 1)
    accepted = item.accepted_at
    return {
        "placed_by": item.account,
        "order_id": item.order_id,
        "exchange_order_id": f"13{item.order_id[-9:]:0>14}" if accepted else None,
        "parent_order_id": None,
        "status": item.whims.word or _STATUS[item.status],
        "status_message": item.message or None,
        "status_message_raw": item.message or None,
        "order_timestamp": moment(item.updated_at),
        "exchange_update_timestamp": moment(item.updated_at) if accepted else None,
        "exchange_timestamp": moment(accepted) if accepted else None,
        "variety": "regular",
        "modified": item.modifications > 0,
        "exchange": exchange,
        "tradingsymbol": symbol,
        "instrument_token": token,
        "order_type": _TYPE[ticket.kind],
        "transaction_type": ticket.side.value,
        "validity": details.get("validity", "DAY"),
        "validity_ttl": int(details.get("validity_ttl", "0")),
        "product": ticket.product,
        "quantity": ticket.quantity,
        "disclosed_quantity": int(details.get("disclosed_quantity", "0")),
        "price": number(ticket.price),
        "trigger_price": number(ticket.trigger),
        "average_price": number(item.average),
        "filled_quantity": item.filled,
        "pending_quantity": item.pending,
        "cancelled_quantity": ticket.quantity - item.filled if item.status is Status.CANCELLED else 0,
        "market_protection": _plain(details.get("market_protection", "0")),
        "meta": {},
        "tag": ticket.tag or None,
        "tags": [ticket.tag] if ticket.tag else [],
        "guid": f"{int(item.order_id[-9:]):05d}Xsim",
    }


def _plain(text: str) -> float | int:
    value = Decimal(text)
    return int(value) if value == value.to_integral_value() else float(value)


def history(item: Order, token: int) -> list[Json]:
    """Return the states an order went through, oldest first."""
    row = order(item, token)
    return [
        row
        | {
            "status": word,
            "status_message": stage.message or None,
            "order_timestamp": moment(stage.at),
            "filled_quantity": stage.filled,
            "pending_quantity": item.ticket.quantity - stage.filled,
        }
        for stage in item.history
        for word in _words(stage)
    ]


def _words(stage: Stage) -> tuple[str, ...]:
    return _PASSED.get(stage.status, (_STATUS[stage.status],))


def postback(item: Order, account: Account, token: int) -> Json:
    """Return what the socket says about an order."""
    row = order(item, token)
    if item.status is Status.OPEN and (item.modifications or item.filled) and not item.whims.word:
        row["status"] = "UPDATE"
    signed = item.order_id + row["order_timestamp"] + account.api_secret
    return row | {
        "user_id": account.client_id,
        "unfilled_quantity": row["pending_quantity"],
        "app_id": 1,
        "checksum": hashlib.sha256(signed.encode()).hexdigest(),
    }


def trades(item: Order, token: int) -> Iterator[Json]:
    """Yield an order's fills."""
    row = order(item, token)
    shared = {
        key: row[key]
        for key in (
            "order_id", "exchange", "tradingsymbol", "instrument_token", "product", "exchange_order_id",
            "transaction_type",
        )
    }  # fmt: skip
    for fill in item.fills:
        at = moment(fill.at)
        yield shared | {
            "trade_id": f"{fill.trade_id:08d}",
            "average_price": number(fill.price),
            "quantity": fill.quantity,
            "fill_timestamp": at,
            "order_timestamp": at[11:],
            "exchange_timestamp": at,
        }


def position(item: Position, instrument: Instrument, token: int, *, day: bool = False) -> Json:
    """Return a row of positions: net, or of today alone."""
    multiplier = instrument.listing.multiplier
    carried = 0 if day else item.carried
    bought, sold = item.bought + max(carried, 0), item.sold + max(-carried, 0)
    buy_value = (item.bought_value + max(carried, 0) * item.carried_price) * multiplier
    sell_value = (item.sold_value + max(-carried, 0) * item.carried_price) * multiplier
    quantity = bought - sold
    pnl = sell_value - buy_value + quantity * instrument.last * multiplier
    contract = instrument.listing.contract
    return {
        "tradingsymbol": contract.tradingsymbol,
        "exchange": contract.exchange,
        "instrument_token": token,
        "product": item.product,
        "quantity": quantity,
        "overnight_quantity": carried,
        "multiplier": multiplier,
        "average_price": number(item.average) if quantity else 0,
        "close_price": number(instrument.previous_close) if carried else 0,
        "last_price": number(instrument.last),
        "value": number(sell_value - buy_value),
        "pnl": number(pnl),
        "m2m": number(pnl),
        "unrealised": number(pnl),
        "realised": 0,
        **_legs("", bought, buy_value, sold, sell_value, multiplier=multiplier),
        "buy_m2m": number(buy_value),
        "sell_m2m": number(sell_value),
        **_legs(
            "day_",
            item.bought,
            item.bought_value * multiplier,
            item.sold,
            item.sold_value * multiplier,
            multiplier=multiplier,
        ),
    }


def _legs(prefix: str, bought: int, buy_value: int, sold: int, sell_value: int, *, multiplier: int) -> Json:
    return {
        f"{prefix}buy_quantity": bought,
        f"{prefix}buy_price": number(Decimal(buy_value) / (bought * multiplier)) if bought else 0,
        f"{prefix}buy_value": number(buy_value),
        f"{prefix}sell_quantity": sold,
        f"{prefix}sell_price": number(Decimal(sell_value) / (sold * multiplier)) if sold else 0,
        f"{prefix}sell_value": number(sell_value),
    }


def holding(paid: Holding | None, funded: Holding | None, instrument: Instrument, token: int) -> Json:
    """Return one row of holdings: shares that are paid for, and under ``mtf`` those that are financed."""
    contract = instrument.listing.contract
    own = paid or Holding(instrument.symbol, "CNC", 0, 0)
    change = instrument.last - instrument.previous_close
    return {
        "tradingsymbol": contract.tradingsymbol,
        "exchange": contract.exchange,
        "instrument_token": token,
        "isin": "INE000000000",
        "product": "CNC",
        "price": 0,
        **_held(own),
        "t1_quantity": 0,
        "realised_quantity": own.quantity,
        "authorised_quantity": 0,
        "authorised_date": moment(instrument.last_trade_time)[:10] + " 00:00:00",
        "authorisation": {},
        "opening_quantity": own.quantity,
        "short_quantity": 0,
        "collateral_quantity": 0,
        "collateral_type": "",
        "discrepancy": False,
        "last_price": number(instrument.last),
        "close_price": number(instrument.previous_close),
        "pnl": number((instrument.last - own.average) * (own.quantity - own.used)),
        "day_change": number(change),
        "day_change_percentage": float(round(Decimal(change * 100) / instrument.previous_close, 4)),
        "mtf": _financed(funded or Holding(instrument.symbol, "MTF", 0, 0)),
    }


def _held(item: Holding) -> Json:
    return {"quantity": item.quantity, "used_quantity": item.used, "average_price": number(item.average)}


def _financed(item: Holding) -> Json:
    return {**_held(item), "value": number(item.quantity * item.average), "initial_margin": 0}


def ltp(instrument: Instrument, token: int) -> Json:
    return {"instrument_token": token, "last_price": number(instrument.last)}


def ohlc(instrument: Instrument, token: int) -> Json:
    day = {
        "open": number(instrument.open),
        "high": number(instrument.high),
        "low": number(instrument.low),
        "close": number(instrument.previous_close),
    }
    return {**ltp(instrument, token), "ohlc": day}


def quote(instrument: Instrument, token: int) -> Json:
    """Return the full quote with five lines of the book on each side."""
    bids, asks = instrument.bids(), instrument.asks()
    at = moment(instrument.last_trade_time)
    return {
        **ohlc(instrument, token),
        "timestamp": at,
        "last_trade_time": at,
        "last_quantity": instrument.last_quantity,
        "buy_quantity": sum(level.quantity for level in bids),
        "sell_quantity": sum(level.quantity for level in asks),
        "volume": instrument.volume,
        "average_price": number(instrument.average),
        "oi": 0,
        "oi_day_high": 0,
        "oi_day_low": 0,
        "net_change": 0,
        "lower_circuit_limit": number(instrument.lower),
        "upper_circuit_limit": number(instrument.upper),
        "depth": {"buy": [_line(level) for level in bids], "sell": [_line(level) for level in asks]},
    }


def _line(level: Level) -> Json:
    return {"price": number(level.price), "quantity": level.quantity, "orders": level.orders}
