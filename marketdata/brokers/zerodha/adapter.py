"""Zerodha, as the house sees a broker."""

from __future__ import annotations

from marketdata.brokers.zerodha.instruments import KiteInstruments
from marketdata.brokers.zerodha.listener import ZerodhaMarketListener
from marketdata.brokers.zerodha.orders import KiteGateway
from marketdata.brokers.zerodha.roots import root
from marketdata.domain.orders import OrderLimits
from marketdata.listener import MarketDataListener
from marketdata.ports import BrokerAdapter, BrokerConfig, ContractBook, InstrumentSource, OrderGateway


class ZerodhaAdapter:
    """Implements ``ports.BrokerAdapter``."""

    listener_class: type[MarketDataListener] = ZerodhaMarketListener
    instruments: InstrumentSource = KiteInstruments()
    instruments_per_connection = ZerodhaMarketListener.instruments_per_connection
    connections = 3
    order_limits = OrderLimits(per_second=10, per_minute=400, per_day=5_000)

    def gateway(self, config: BrokerConfig, contracts: ContractBook) -> OrderGateway:
        return KiteGateway(config, root("api"), contracts)


ADAPTER: BrokerAdapter = ZerodhaAdapter()
