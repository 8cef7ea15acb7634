"""The ways to reach a person: the open pages, and whatever apprise knows how to reach."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

from marketdata.ports import LiveChannel
from marketdata.secret import Secret
from strategies.telling import Telling, text, title

if TYPE_CHECKING:
    from apprise import Apprise, NotifyBase

_SHORTEST_SECRET = 6
_BETWEEN_PARTS = re.compile(r"[/:@?&=,#]+")


class ChannelError(Exception):
    """It did not get through; the text says why and holds no credential."""


class BadTarget(ValueError):
    """Not a target that can be used; the text says why (``cannot be used: …``), and not what it says."""


class Channel(Protocol):
    """One way to reach a person."""

    @property
    def name(self) -> str:
        """Its name in ``AlertDelivery``; stays the same over restarts, holds no credential."""
        ...

    def tell(self, tellings: Sequence[Telling]) -> None:
        """Hand over alerts in one message. Blocks, and may hang. Raises ``ChannelError``."""
        ...


class PageChannel:
    """The user's open pages, which show it and, where allowed, a desktop notification.

    Handing over is all that can be known: whoever has no page open sees it with the next one.
    """

    name = "page"

    def __init__(self, pages: LiveChannel) -> None:
        self._pages = pages
        self._told: set[tuple[int, int]] = set()

    def tell_now(self, user_id: int, body: dict[str, Any]) -> None:
        """Tell what has just been committed, and remember that for the delivery that follows."""
        self._pages.send(user_id, "alert", body)
        if body.get("id"):
            self._told.add((body["id"], body["repeat"]))

    def tell(self, tellings: Sequence[Telling]) -> None:
        for telling in tellings:
            key = (telling.body["id"], telling.body["repeat"])
            if key not in self._told:
                self._pages.send(telling.user_id, "alert", telling.body)
            self._told.discard(key)


class AppriseChannel:
    """One target: of ``ALERT_URLS``, which gets every user's alerts, or a user's own."""

    def __init__(self, name: str, url: Secret, target: Apprise) -> None:
        self.name = name
        self._target = target
        written = _BETWEEN_PARTS.split(url.reveal())
        parts = {part for part in (*written, *map(unquote, written)) if len(part) >= _SHORTEST_SECRET}
        self._secrets = sorted(parts, key=len, reverse=True)

    def tell(self, tellings: Sequence[Telling]) -> None:
        from apprise import NotifyFormat, NotifyType

        said: list[str] = []
        urgent = any(telling.is_urgent for telling in tellings)
        try:
            result = self._target.notify(
                title=title(tellings),
                body=text(tellings),
                body_format=NotifyFormat.TEXT,
                notify_type=NotifyType.FAILURE if urgent else NotifyType.INFO,
                log_callback=lambda entry, _: said.append(entry.message),
                log_level=logging.WARNING,
            )
        except Exception as exc:  # noqa: BLE001 - a plugin may raise anything, with the address in it
            raise ChannelError(self._masked(f"{type(exc).__name__}: {exc}")) from None
        if not result:
            raise ChannelError(self._masked(" ".join(said)) or "not accepted")

    def _masked(self, words: str) -> str:
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return words


def apprise_channels(urls: Sequence[Secret]) -> list[AppriseChannel]:
    """Return a channel for each target.

    Raises:
        BadTarget: apprise does not know what one of them means.

    """
    channels = []
    for place, url in enumerate(urls, start=1):
        schema = url.reveal().partition("://")[0].lower()
        try:
            channels.append(apprise_channel(f"apprise {place} ({schema})", url))
        except BadTarget as exc:
            raise BadTarget(f"ALERT_URLS: target {place} of {len(urls)} {exc}.") from None
    return channels


def apprise_channel(name: str, url: Secret) -> AppriseChannel:
    """Return the channel of one target; raises ``BadTarget``."""
    from apprise import Apprise, OverflowMode

    plugin = plugin_of(url.reveal())
    plugin.overflow_mode = OverflowMode.SPLIT  # a long message comes in parts, never cut
    target = Apprise(asset=plugin.asset)
    target.add(plugin)
    return AppriseChannel(name, url, target)


def plugin_of(url: str) -> NotifyBase:
    """Return apprise's plugin for one target, which calls nobody yet; raises ``BadTarget``."""
    from apprise import Apprise, AppriseAsset, PersistentStoreMode

    _silence()
    asset = AppriseAsset(app_id="Tickguard", storage_mode=PersistentStoreMode.MEMORY, secure_logging=True)
    plugin = Apprise.instantiate(url, asset=asset)
    if plugin is None:
        raise BadTarget(
            "cannot be used: its scheme (the part before ://) is none that apprise knows, "
            "or the rest of it is not complete"
        )
    return plugin


def _silence() -> None:
    """Keep apprise's log lines, which may hold an address, out of ours; each message brings its own back."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
