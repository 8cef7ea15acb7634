"""The account that is there from the start, so that a demonstration needs no steps. Public on purpose."""

from __future__ import annotations

DHAN_DEMO_CLIENT_ID = "1000000001"
DHAN_DEMO_API_KEY = "dhandemokey"
DHAN_DEMO_API_SECRET = "dhandemosecret"  # noqa: S105
DHAN_DEMO_ACCESS_TOKEN = "dhandemotoken"  # noqa: S105

# These open every account of the simulator.
DHAN_PIN = "123456"
DHAN_TOTP_SECRET = "JBSWY3DPEHPK3PXP"  # noqa: S105
