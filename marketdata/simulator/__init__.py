"""A small exchange with accounts, prices and faults, for demonstration, tests and measurement.

Nothing here knows a broker's wire format: each broker's folder puts its own surface on the
exchange (``brokers/<broker>/simulated``). It listens on loopback only.
"""
