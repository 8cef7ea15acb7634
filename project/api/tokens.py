"""Tokens: made, recognised, taken back. Only their hashes are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.db.models import Q

from marketdata.secret import Secret
from project.api.models import ApiToken

MARK = "tg_"
_SHOWN = len(MARK) + 8
_USE_IS_KEPT = timedelta(minutes=1)


class NameTaken(ValueError):
    """The user has a token of that name already."""


def issue(
    user: AbstractBaseUser,
    name: str,
    now: datetime,
    *,
    lasts: timedelta | None = None,
    read_only: bool = False,
) -> tuple[ApiToken, Secret]:
    """Make a token; its secret is returned here and nowhere else.

    Args:
        user: For whom programs act with it.
        name: What it is for.
        now: The moment.
        lasts: How long it is accepted; None: until it is revoked.
        read_only: It may look and not touch.

    Raises:
        NameTaken: The text says what to do.

    """
    text = MARK + secrets.token_urlsafe(32)
    token = ApiToken(
        user_id=user.pk, name=name, prefix=text[:_SHOWN], hash=_hash(text), read_only=read_only,
        created_at=now, expires_at=now + lasts if lasts else None,
    )  # fmt: skip
    try:
        with transaction.atomic():
            token.save(force_insert=True)
    except IntegrityError as exc:
        raise NameTaken(f"There is a token named {name} already: choose another name, or revoke it.") from exc
    return token, Secret(text)


def find(text: str, now: datetime) -> ApiToken | None:
    """Return the token whose secret this is, if it still counts and its user may log in."""
    if not text.startswith(MARK) or not text.isascii() or not text.isprintable():
        return None
    wanted = _hash(text)
    alike = ApiToken.objects.select_related("user").filter(prefix=text[:_SHOWN], user__is_active=True)
    lasting = alike.filter(Q(expires_at=None) | Q(expires_at__gt=now))
    return next((token for token in lasting if hmac.compare_digest(token.hash, wanted)), None)


def note_use(token: ApiToken, now: datetime) -> None:
    """Keep when it was used last, to the minute: not every read is to cost a write."""
    if token.last_used_at is None or now - token.last_used_at >= _USE_IS_KEPT:
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
