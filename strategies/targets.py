"""Which targets a person may have this server call.

Apprise knows services whose address is part of the target. Whoever could enter those could have the
server call itself and its neighbours, so all but staff are kept to services with addresses of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from strategies.channels import BadTarget, plugin_of

if TYPE_CHECKING:
    from apprise import NotifyBase

PUBLIC = {
    "NotifyTelegram": "Telegram",
    "NotifySlack": "Slack",
    "NotifyDiscord": "Discord",
    "NotifyPushover": "Pushover",
    "NotifyPushBullet": "Pushbullet",
    "NotifyGoogleChat": "Google Chat",
    "NotifyWhatsApp": "WhatsApp",
    "NotifyTwilio": "Twilio",
}
"""Plugins whose requests go to one host, whatever the target says."""
MAIL_HOSTS = frozenset(
    {
        "smtp.gmail.com", "smtp.mail.yahoo.com", "smtp-mail.outlook.com", "smtp.outlook.com", "smtp.office365.com",
        "smtp.fastmail.com", "smtp.zoho.com",
    }
)  # fmt: skip
_KNOWN = f"{', '.join(PUBLIC.values())}, ntfy.sh, or a mailbox at Gmail, Outlook, Yahoo, Zoho or Fastmail"


def service_of(url: str) -> str:
    """Return what the target's service is called; raises ``BadTarget``."""
    return str(plugin_of(url).service_name)


def refuse_private(url: str, *, is_staff: bool) -> None:
    """Refuse a target that could lead anywhere else than to a well-known service; staff may use any.

    Raises:
        BadTarget: Refused, or nothing that apprise knows.

    """
    plugin = plugin_of(url)
    if is_staff:
        return
    # Options can name another host, a file of this machine, or switch off the check of certificates.
    if "?" in url:
        raise BadTarget("has options after a question mark, which are for staff only: leave them out")
    if not _is_public(plugin):
        raise BadTarget(
            f"leads to a server of its own ({plugin.service_name}), which is for staff only: use {_KNOWN}"
        )


def _is_public(plugin: NotifyBase) -> bool:
    name = type(plugin).__name__
    if name == "NotifyEmail":
        return getattr(plugin, "smtp_host", None) in MAIL_HOSTS
    if name == "NotifyNtfy":
        return getattr(plugin, "mode", None) == "cloud"
    return name in PUBLIC
