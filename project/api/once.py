"""Writes that are safe to repeat: the same ``Idempotency-Key`` acts once and is answered alike.

The key, the change and the answer are one transaction. Of two requests at a time one inserts the
key; the other waits for that transaction and then finds its answer. When it was rolled back there
is no key either, so nothing stands in the way of another try.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import timedelta

from django.db import IntegrityError, OperationalError, transaction
from django.http import HttpResponse
from django.utils import timezone
from ninja import Schema

from project.api.auth import ApiRequest
from project.api.errors import REFUSALS, Answer, ApiError, refusal
from project.api.models import StoredAnswer

HEADER = "Idempotency-Key"
KEPT = timedelta(hours=24)
_LONGEST = 128
_LOCK_NOT_AVAILABLE = "55P03"
_REPLAYED = {"Idempotency-Replayed": "true"}


def once(
    request: ApiRequest,
    act: Callable[[], Schema | None],
    *,
    check: Callable[[], object] = lambda: None,
    status: int = 200,
) -> HttpResponse:
    """Carry out a write and answer it, or answer as it was answered before.

    Args:
        request: What was sent.
        act: Makes the change in the database, nothing else, and returns the answer; None: nothing to say.
        check: Runs before, outside the transaction: whatever asks Redis.
        status: Of an answer that is no refusal.

    Raises:
        ApiError: The key was used for something else, or is being used.

    """
    claim = _claim(request)
    if claim and (known := claim.answer()):
        return known.response(_REPLAYED)
    refused = _attempt(check, status)
    with transaction.atomic():
        if claim and (known := claim.take()):
            return known.response(_REPLAYED)
        # In a savepoint: what says no has changed nothing, and saying no is an answer that is kept.
        answer = refused if refused.status >= 400 else _attempt(transaction.atomic(act), status)
        if claim:
            claim.keep(answer)
    return answer.response()


def _attempt(step: Callable[[], object], status: int) -> Answer:
    """Return what a step answers."""
    try:
        said = step()
    except REFUSALS as exc:
        return refusal(exc).answer()
    return Answer(status, said.model_dump_json() if isinstance(said, Schema) else "")


class _Claim:
    """One user's use of one key. ``take`` and ``keep`` belong into one transaction."""

    def __init__(self, user_id: int, key: str, fingerprint: str) -> None:
        self._user_id, self._key, self._fingerprint = user_id, key, fingerprint
        self._now = timezone.now()

    def answer(self) -> Answer | None:
        """Return what this was answered before, within the last 24 hours."""
        rows = StoredAnswer.objects.filter(user=self._user_id, key=self._key)
        row = rows.filter(created_at__gt=self._now - KEPT).first()
        if row is None:
            return None
        if row.fingerprint != self._fingerprint:
            raise ApiError(
                422, "key_reused",
                f"{HEADER} {self._key} was sent with another request before: use a new key for a new request.",
                HEADER,
            )  # fmt: skip
        return Answer(row.status, row.body)

    def take(self) -> Answer | None:
        """Reserve the key; where somebody has meanwhile, return what they were answered."""
        StoredAnswer.objects.filter(user=self._user_id, created_at__lte=self._now - KEPT).delete()
        try:
            with transaction.atomic():
                self._row = StoredAnswer.objects.create(
                    user_id=self._user_id, key=self._key, fingerprint=self._fingerprint, created_at=self._now
                )
        except IntegrityError:
            return self.answer()
        except OperationalError as exc:
            raise _under_way(self._key, exc) from exc
        return None

    def keep(self, answer: Answer) -> None:
        self._row.status, self._row.body = answer
        self._row.save(update_fields=["status", "body"])


def _claim(request: ApiRequest) -> _Claim | None:
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not key.isascii() or not key.isprintable() or not 0 < len(key) <= _LONGEST:
        raise ApiError(422, "invalid", f"{HEADER} has to be 1 to {_LONGEST} ASCII characters.", HEADER)
    what = f"{request.method} {request.get_full_path()}\n".encode() + request.body
    return _Claim(request.user.pk, key, hashlib.sha256(what).hexdigest())


def _under_way(key: str, exc: OperationalError) -> Exception:
    """Tell a key that another transaction holds, for longer than a lock is waited for, from other trouble."""
    if getattr(exc.__cause__, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
        return exc
    return ApiError(
        409,
        "under_way",
        f"The request with {HEADER} {key} is still under way: send it again in a moment.",
        HEADER,
    )
