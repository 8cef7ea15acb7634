"""What the exchange holds, as Dhan's JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from marketdata.brokers.dhan.simulated.catalogue import INDICES, Security
from marketdata.brokers.dhan.simulated.scrip_master import trading_symbol
from marketdata.brokers.dhan.simulated.tickets import PRODUCTS
from marketdata.simulator.accounts import Account, Holding, Position
from marketdata.simulator.exchange import IST
from marketdata.simulator.instrument import Instrument, Level
from marketdata.simulator.orders import Kind, Order, Status
from marketdata.simulator.values import moment, number

Json = dict[str, Any]
PRODUCT = {ours: theirs for theirs, ours in PRODUCTS.items()}
LETTERS = {"NSE_CURRENCY": "C", "BSE_CURRENCY": "C", "MCX_COMM": "M", "NSE_FNO": "D", "BSE_FNO": "D"}
_STATUS = {
    Status.RECEIVED: "TRANSIT",
    Status.WAITING: "PENDING",
    Status.OPEN: "PENDING",
    Status.COMPLETE: "TRADED",
    Status.CANCELLED: "CANCELLED",
    Status.REJECTED: "REJECTED",
}
_TYPE = {Kind.MARKET: "MARKET", Kind.LIMIT: "LIMIT", Kind.STOP_LIMIT: "STOP_LOSS"}
_OPTION = {"CE": "CALL", "PE": "PUT"}


def status(item: Order) -> str:
    """Return Dhan's word for where an order is."""
    if item.whims.word:
        return item.whims.word
    if item.status is Status.OPEN and item.filled:
        return "PART_TRADED"
    return _STATUS[item.status]


def order_type(item: Order) -> str:
    """Return the type the book shows: a market order that was accepted is a limit order by then."""
    protected = item.ticket.kind is Kind.MARKET and item.limit
    return "LIMIT" if protected else _TYPE.get(item.ticket.kind, "LIMIT")


def price(item: Order) -> float:
    return number(item.limit if item.ticket.kind is Kind.MARKET else item.ticket.price)


def name(instrument: Instrument, security: Security) -> str:
    """Return Dhan's trading symbol."""
    if instrument.listing.is_index:
        return INDICES[instrument.symbol].symbol
    return trading_symbol(instrument.listing.contract, LETTERS.get(security.segment, "E"))


def order(item: Order, instrument: Instrument, security: Security) -> Json:
    """Return one row of the order book."""
    ticket, details = item.ticket, dict(item.ticket.details)
    told = item.message if item.status in (Status.REJECTED, Status.CANCELLED) else None
    return {
        **_deal(item, instrument, security),
        "correlationId": ticket.tag,
        "orderStatus": status(item),
        "validity": details.get("validity", "DAY"),
        "quantity": ticket.quantity,
        "disclosedQuantity": int(details.get("disclosed", "0")),
        "price": price(item),
        "triggerPrice": number(ticket.trigger),
        "afterMarketOrder": False,
        "boProfitValue": 0.0,
        "boStopLossValue": 0.0,
        "legName": "",
        "updateTime": moment(item.updated_at),
        "exchangeTime": moment(item.accepted_at) if item.accepted_at else "0001-01-01 00:00:00",
        "omsErrorCode": "16387" if told else None,
        "omsErrorDescription": told or None,
        "algoId": "0",
        "remainingQuantity": ticket.quantity - item.filled,
        "averageTradedPrice": number(item.average),
        "filledQty": item.filled,
    }


def _deal(item: Order, instrument: Instrument, security: Security) -> Json:
    """Return what orders and trades have in common."""
    return {
        "dhanClientId": item.account,
        "orderId": item.order_id,
        "exchangeOrderId": f"13{item.order_id[-9:]:0>14}" if item.accepted_at else "",
        "transactionType": item.ticket.side.value,
        "exchangeSegment": security.segment,
        "productType": PRODUCT.get(item.ticket.product, item.ticket.product),
        "orderType": order_type(item),
        "tradingSymbol": name(instrument, security),
        "securityId": str(security.security_id),
        "createTime": moment(item.received_at),
        **_derivative(instrument),
    }


def _derivative(instrument: Instrument) -> Json:
    contract = instrument.listing.contract
    return {
        "drvExpiryDate": contract.expiry.isoformat() if contract.expiry else None,
        "drvOptionType": _OPTION.get(contract.instrument_type),
        "drvStrikePrice": float(contract.strike or 0),
    }


def trades(item: Order, instrument: Instrument, security: Security) -> Iterator[Json]:
    """Yield an order's fills."""
    for fill in item.fills:
        yield {
            **_deal(item, instrument, security),
            "exchangeTradeId": f"{fill.trade_id:08d}",
            "customSymbol": instrument.listing.contract.name,
            "tradedQuantity": fill.quantity,
            "tradedPrice": number(fill.price),
            "updateTime": moment(fill.at),
            "exchangeTime": moment(fill.at),
        }


def position(item: Position, instrument: Instrument, security: Security, client_id: str) -> Json:
    """Return one row of positions."""
    multiplier, carried = instrument.listing.multiplier, item.carried
    carried_value = abs(carried) * item.carried_price * multiplier
    bought, sold = item.bought + max(carried, 0), item.sold + max(-carried, 0)
    buy_value = item.bought_value * multiplier + (carried_value if carried > 0 else 0)
    sell_value = item.sold_value * multiplier + (carried_value if carried < 0 else 0)
    net = item.quantity
    unrealised = net * (instrument.last - item.average) * multiplier
    total = sell_value - buy_value + net * instrument.last * multiplier
    return {
        "dhanClientId": client_id,
        "tradingSymbol": name(instrument, security),
        "securityId": str(security.security_id),
        "positionType": "LONG" if net > 0 else "SHORT" if net else "CLOSED",
        "exchangeSegment": security.segment,
        "productType": PRODUCT.get(item.product, item.product),
        "buyAvg": _average(buy_value, bought * multiplier),
        "costPrice": number(item.average),
        "buyQty": bought,
        "sellAvg": _average(sell_value, sold * multiplier),
        "sellQty": sold,
        "netQty": net,
        "realizedProfit": number(total - unrealised),
        "unrealizedProfit": number(unrealised),
        "rbiReferenceRate": 1.0,
        "multiplier": multiplier,
        "carryForwardBuyQty": max(carried, 0),
        "carryForwardSellQty": max(-carried, 0),
        "carryForwardBuyValue": number(carried_value if carried > 0 else 0),
        "carryForwardSellValue": number(carried_value if carried < 0 else 0),
        "dayBuyQty": item.bought,
        "daySellQty": item.sold,
        "dayBuyValue": number(item.bought_value * multiplier),
        "daySellValue": number(item.sold_value * multiplier),
        **_derivative(instrument),
        "crossCurrency": False,
    }


def _average(value: int, quantity: int) -> float:
    return number(Decimal(value) / quantity) if quantity else 0.0


def holding(held: list[Holding], instrument: Instrument, security: Security) -> Json:
    """Return one row of holdings: shares, however they were paid for."""
    total, used = sum(item.quantity for item in held), sum(item.used for item in held)
    value = sum(item.quantity * item.average for item in held)
    return {
        "exchange": "ALL",
        "tradingSymbol": name(instrument, security),
        "securityId": str(security.security_id),
        "isin": "INE000000000",
        "totalQty": total,
        "dpQty": total,
        "t1Qty": 0,
        "availableQty": total - used,
        "collateralQty": 0,
        "avgCostPrice": _average(value, total),
        "lastTradedPrice": number(instrument.last),
    }


def funds(account: Account) -> Json:
    names = ("sodLimit", "collateralAmount", "receiveableAmount", "utilizedAmount", "blockedPayoutAmount")
    return {
        "dhanClientId": account.client_id,
        "availabelBalance": 1_000_000.0,  # their spelling
        **dict.fromkeys(names, 0.0),
        "withdrawableBalance": 1_000_000.0,
    }


def profile(account: Account, expires_at: float) -> Json:
    expiry = datetime.fromtimestamp(expires_at, IST)
    return {
        "dhanClientId": account.client_id,
        "tokenValidity": f"{expiry:%d/%m/%Y %H:%M}",
        "activeSegment": "Equity, Derivative, Currency, Commodity",
        "ddpi": "Active",
        "mtf": "Active",
        "dataPlan": "Active",
        "dataValidity": f"{expiry:%Y-%m-%d %H:%M:%S}.0",
    }


def ltp(instrument: Instrument) -> Json:
    return {"last_price": number(instrument.last)}


def ohlc(instrument: Instrument) -> Json:
    day = {
        "open": number(instrument.open),
        "close": number(instrument.previous_close),
        "high": number(instrument.high),
        "low": number(instrument.low),
    }
    return {**ltp(instrument), "ohlc": day}


def quote(instrument: Instrument) -> Json:
    """Return the full quote with five lines of the book on each side."""
    bids, asks = instrument.bids(), instrument.asks()
    at = datetime.fromtimestamp(instrument.last_trade_time, IST)
    return {
        **ohlc(instrument),
        "average_price": number(instrument.average),
        "buy_quantity": sum(level.quantity for level in bids),
        "sell_quantity": sum(level.quantity for level in asks),
        "depth": {"buy": [_line(level) for level in bids], "sell": [_line(level) for level in asks]},
        "last_quantity": instrument.last_quantity,
        "last_trade_time": f"{at:%d/%m/%Y %H:%M:%S}",
        "lower_circuit_limit": number(instrument.lower),
        "upper_circuit_limit": number(instrument.upper),
        "net_change": number(instrument.last - instrument.previous_close),
        "volume": instrument.volume,
        "oi": 0,
        "oi_day_high": 0,
        "oi_day_low": 0,
    }


def _line(level: Level) -> Json:
    return {"quantity": level.quantity, "orders": level.orders, "price": number(level.price)}
