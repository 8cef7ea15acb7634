"""Zerodha: Kite Connect 3.

Odd about this broker: the feed's token travels in its URL, the packet kind is known only by
its length, an API market order needs a market protection and may rest unfilled, and the
order book cannot be asked for a tag. Documentation: https://kite.trade/docs/connect/v3/
"""
