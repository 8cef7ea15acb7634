"""What the control API shows: prices as texts in rupees, so that nothing is rounded on the way."""

from __future__ import annotations

from typing import Any

from marketdata.domain.prices import to_rupees
from marketdata.simulator.accounts import Account
from marketdata.simulator.instrument import Instrument
from marketdata.simulator.orders import Order

Json = dict[str, Any]


def instrument(item: Instrument) -> Json:
    names = ("last", "open", "high", "low", "previous_close", "lower", "upper", "average")
    contract = item.listing.contract
    return {name: str(to_rupees(getattr(item, name))) for name in names} | {
        "symbol": item.symbol,
        "bid": str(to_rupees(item.best_bid())),
        "ask": str(to_rupees(item.best_ask())),
        "volume": item.volume,
        "last_trade_time": item.last_trade_time,
        "tick_size": str(contract.tick_size),
        "lot_size": contract.lot_size,
        "freeze_quantity": contract.freeze_quantity,
    }


def account(item: Account) -> Json:
    names = ("client_id", "api_key", "api_secret", "access_token", "redirect_url")
    return {name: getattr(item, name) for name in names}


def order(item: Order) -> Json:
    ticket = item.ticket
    fills = [{"quantity": f.quantity, "price": str(to_rupees(f.price)), "at": f.at} for f in item.fills]
    return {
        "order_id": item.order_id,
        "account": item.account,
        "tag": item.tag,
        "shown_tag": ticket.tag,
        "symbol": ticket.symbol,
        "side": ticket.side.value,
        "product": ticket.product,
        "quantity": ticket.quantity,
        "kind": ticket.kind.value,
        "price": str(to_rupees(ticket.price)),
        "limit": str(to_rupees(item.limit)),
        "status": item.status.value,
        "message": item.message,
        "cancelled_by": item.cancelled_by,
        "filled": item.filled,
        "received_at": item.received_at,
        "updated_at": item.updated_at,
        "modifications": item.modifications,
        "fills": fills,
    }
