"""The crash-point matrix: real processes killed at every point of an order's way. ``python -m tests.crash``."""
