"""Dhan, as the house sees a broker."""

from __future__ import annotations

from marketdata.brokers.dhan.instruments import DhanInstruments
from marketdata.brokers.dhan.listener import DhanMarketListener
from marketdata.brokers.dhan.orders import DhanGateway
from marketdata.brokers.dhan.roots import root
from marketdata.domain.orders import OrderLimits
from marketdata.listener import MarketDataListener
from marketdata.ports import BrokerAdapter, BrokerConfig, ContractBook, InstrumentSource, OrderGateway


class DhanAdapter:
    """Implements ``ports.BrokerAdapter``."""

    listener_class: type[MarketDataListener] = DhanMarketListener
    instruments: InstrumentSource = DhanInstruments()
    instruments_per_connection = DhanMarketListener.instruments_per_connection
    connections = 5
    order_limits = OrderLimits(per_second=10, per_minute=250, per_hour=1_000, per_day=7_000)

    def gateway(self, config: BrokerConfig, contracts: ContractBook) -> OrderGateway:
        return DhanGateway(config, root("api"), contracts)


ADAPTER: BrokerAdapter = DhanAdapter()
