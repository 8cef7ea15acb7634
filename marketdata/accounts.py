"""An account's row as what broker code needs of it."""

from __future__ import annotations

from marketdata.models import BrokerAccount
from marketdata.ports import BrokerConfig


def broker_config(account: BrokerAccount) -> BrokerConfig:
    """Return the account with its credentials, for the adapter of its broker alone."""
    return BrokerConfig(
        account_id=account.pk,
        broker=account.broker,
        client_id=account.client_id,
        api_key=account.api_key,
        api_secret=account.api_secret,
        access_token=account.access_token,
    )
