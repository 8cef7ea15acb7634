"""The channels that users have entered for themselves, beside those of the installation.

All of it blocks: call it from a database thread.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.core.exceptions import ImproperlyConfigured

from strategies.channels import BadTarget, Channel, ChannelError, apprise_channel
from strategies.deliveries import Recipient
from strategies.models import AlertChannel
from strategies.targets import refuse_private
from strategies.telling import Telling

logger = logging.getLogger(__name__)
Version = tuple[datetime, bool]
"""When the row was last changed, and whether its user is staff: either may change what is allowed."""


@dataclass(frozen=True, slots=True)
class Own:
    """One user's channel. ``channel`` is None where it is as it was read before."""

    recipient: Recipient
    version: Version
    channel: Channel | None


class Unusable:
    """Stands for a channel that cannot be used as it is stored; says why whenever it is to tell."""

    def __init__(self, name: str, why: str) -> None:
        self.name = name
        self._why = why

    def tell(self, tellings: Sequence[Telling]) -> None:
        raise ChannelError(self._why)


def read_own(known: Mapping[str, Version]) -> list[Own]:
    """Return every channel that is switched on; those whose version is ``known`` by name are not built anew."""
    rows = AlertChannel.objects.filter(enabled=True, user__is_active=True).defer("url").select_related("user")
    found = []
    for row in rows.order_by("pk"):
        recipient = Recipient(row.delivery_name, row.user_id, row.urgent_only)
        version = (row.updated_at, row.user.is_staff)
        is_same = known.get(recipient.name) == version
        found.append(Own(recipient, version, None if is_same else channel_of(row)))
    return found


def channel_of(row: AlertChannel) -> Channel:
    """Return a user's channel, ready to be told something."""
    try:
        refuse_private(row.url.reveal(), is_staff=row.user.is_staff)
        return apprise_channel(row.delivery_name, row.url)
    except (BadTarget, ImproperlyConfigured) as exc:
        logger.warning("%s cannot be used: %s", row.delivery_name, exc)
        return Unusable(row.delivery_name, f"The address {exc}")
