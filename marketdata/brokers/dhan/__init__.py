"""Dhan: DhanHQ v2.

Odd about this broker: a security id is unique only within its segment, the time of the last
trade is India's wall clock written as an epoch, prices come as float32, a market order becomes
a protected limit order that may rest unfilled, and order updates come on a socket of their
own. Documentation: https://dhanhq.co/docs/v2/
"""
