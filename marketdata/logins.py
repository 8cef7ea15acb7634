"""A person logs in at a broker: the token is seen to work, then stored, then used by the feed.

Nothing is stored before the broker has said whose the token is. The running listener takes a
new token as it takes any change of its account's row: no restart, and no other account notices.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from marketdata.accounts import broker_config
from marketdata.brokers import registry
from marketdata.clock import SystemClock
from marketdata.domain.clock import Clock
from marketdata.domain.errors import BadReply, BrokerError, BrokerUnavailable, LoginExpired, UnknownBroker
from marketdata.domain.sessions import IST
from marketdata.hints import hint
from marketdata.models import BrokerAccount, Listener, ListenerEvent
from marketdata.ports import BrokerConfig, Checked, Login
from marketdata.secret import MASK, Secret

logger = logging.getLogger(__name__)

LOGGED_IN = "logged_in"
_SHORTEST_SECRET = 4
"""Shorter texts are words of every message, and give nothing away."""
Obtain = Callable[[Login, BrokerConfig], Secret]


class LoginError(Exception):
    """A login that came to nothing; the text is for the person, and holds no secret."""


@dataclass(frozen=True, slots=True)
class TokenLife:
    """How an account's token is, in words; ``holds`` when as far as is known it works."""

    text: str
    holds: bool


def token_life(account: BrokerAccount, now: datetime) -> TokenLife:
    """Say how long the account is logged in."""
    if not account.access_token:
        return TokenLife("Not logged in", holds=False)
    if account.token_expires_at is None:
        return TokenLife("Logged in, not known until when", holds=True)
    until = moment_text(account.token_expires_at, now)
    if account.token_expires_at <= now:
        return TokenLife(f"Login expired at {until}", holds=False)
    return TokenLife(f"Logged in until {until}", holds=True)


def is_refused(account: BrokerAccount) -> bool:
    """Tell whether the listener was turned away since the last login."""
    listener = Listener.objects.filter(account=account, state=Listener.State.LOGIN_NEEDED).first()
    if listener is None or listener.reported_at is None:
        return listener is not None
    later = ListenerEvent.objects.filter(account=account, kind=LOGGED_IN, at__gte=listener.reported_at)
    return not later.exists()


def moment_text(moment: datetime, now: datetime) -> str:
    """Return a time of day in IST, with its day when that is another one: ``06:00 IST, 24 Nov``."""
    local, today = moment.astimezone(IST), now.astimezone(IST).date()
    day = "" if local.date() == today else f", {local.day} {local:%b}"
    return f"{local:%H:%M} IST{day}"


def login_of(account: BrokerAccount) -> Login:
    """Return how one logs in at the account's broker; raises ``LoginError``."""
    try:
        return registry.login(account.broker)
    except UnknownBroker:
        raise LoginError(f"{account.get_broker_display()} cannot be used here yet.") from None


class Logins:
    """Logs accounts in. Blocking: each call asks the broker once or twice, 10 s at most each."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()

    def address(self, account: BrokerAccount, state: str) -> str:
        """Return where the browser goes to log in; raises ``LoginError``."""
        with _in_words(account, []):
            return login_of(account).address(broker_config(account), state)

    def from_browser(self, account: BrokerAccount, answer: Mapping[str, str], *, by: User) -> BrokerAccount:
        """Log in with what the broker's page sent the browser back with.

        Raises:
            LoginError: Not logged in. What was stored before is still stored.

        """
        secrets = [value for value in answer.values() if any(map(str.isdigit, value))]  # not "success"
        return self._log_in(account, lambda login, config: login.exchange(config, answer), secrets, by)

    def from_form(
        self, account: BrokerAccount, way: str, typed: Mapping[str, str], *, by: User
    ) -> BrokerAccount:
        """Log in with what was typed into the form ``way``; raises ``LoginError`` as above."""
        return self._log_in(
            account, lambda login, config: login.by_typing(config, way, typed), typed.values(), by
        )

    def check(self, account: BrokerAccount) -> BrokerAccount:
        """Ask the broker about the token that is stored, and note how long it lives.

        Raises:
            LoginError: It is not known to work. When the broker says it does not, it counts as expired.

        """
        config = broker_config(account)
        if not config.access_token:
            raise LoginError("Not logged in: there is no token to check.")
        try:
            with _in_words(account, []):
                checked = login_of(account).check(config, self._now())
            _assert_own(account, checked)
        except LoginError as exc:
            if isinstance(exc.__cause__, LoginExpired):
                self._note_expiry(account, config, self._now(), only_sooner=True)
            raise
        return self._note_expiry(account, config, checked.expires_at)

    # --- inside -----------------------------------------------------------------------------

    def _log_in(
        self, account: BrokerAccount, obtain: Obtain, secrets: Iterable[str], by: User
    ) -> BrokerAccount:
        config, known = broker_config(account), list(secrets)
        login = login_of(account)
        with _in_words(account, known):
            token = obtain(login, config)
            known.append(token.reveal())
            checked = login.check(replace(config, access_token=token), self._now())
        _assert_own(account, checked)
        if checked.expires_at <= self._now():
            raise LoginError(
                f"That login is over since {moment_text(checked.expires_at, self._now())}: log in again."
            )
        return self._store(config, token, checked, by)

    def _store(self, config: BrokerConfig, token: Secret, checked: Checked, by: User) -> BrokerAccount:
        now = self._now()
        with transaction.atomic():
            row = _locked(config)
            row.access_token, row.token_expires_at, row.client_id = (
                token,
                checked.expires_at,
                checked.client_id,
            )
            _save(row)
            until = moment_text(checked.expires_at, now)
            detail = {"text": f"until {until}", "by": by.get_username()}
            ListenerEvent.objects.create(account=row, at=now, kind=LOGGED_IN, detail=detail)
            transaction.on_commit(hint, robust=True)
        logger.info("%s account %s: logged in until %s", config.broker, config.account_id, until)
        return row

    def _note_expiry(
        self, account: BrokerAccount, config: BrokerConfig, at: datetime, *, only_sooner: bool = False
    ) -> BrokerAccount:
        with transaction.atomic():
            row = _locked(config)
            known = row.token_expires_at
            if row.access_token == config.access_token and not (only_sooner and known and known <= at):
                row.token_expires_at = at
                row.save(update_fields=["token_expires_at"])
        return row

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.time(), UTC)


def _locked(config: BrokerConfig) -> BrokerAccount:
    """Return the row, provided it is still the account that was logged in to."""
    row = BrokerAccount.objects.select_for_update().filter(pk=config.account_id, broker=config.broker).first()
    if row is None or (row.client_id, row.api_key) != (config.client_id, config.api_key):
        raise LoginError("The account was changed meanwhile, so nothing was stored: log in again.")
    return row


def _save(row: BrokerAccount) -> None:
    try:
        with transaction.atomic():
            row.save(update_fields=["access_token", "token_expires_at", "client_id"])
    except IntegrityError:  # the account had no client id, and its broker's is another row's
        raise LoginError(f"Nothing was stored. {row.taken_text(row.client_id)}") from None


def _assert_own(account: BrokerAccount, checked: Checked) -> None:
    # A token of somebody else's would sell somebody else's shares.
    if account.client_id and checked.client_id.casefold() != account.client_id.casefold():
        raise LoginError(
            f"That login belongs to {checked.client_id}, this account to {account.client_id}: nothing was stored. "
            f"Log out at {account.get_broker_display()} and log in as {account.client_id}."
        )


@contextmanager
def _in_words(account: BrokerAccount, secrets: list[str]) -> Iterator[None]:
    try:
        yield
    except BrokerError as exc:
        known = [*secrets, account.api_secret.reveal(), account.access_token.reveal()]
        said = _without(known, str(exc)).rstrip(".")
        logger.warning("%s account %s: login: %s", account.broker, account.pk, said)
        raise LoginError(_told(account, exc, said)) from exc


def _told(account: BrokerAccount, exc: BrokerError, said: str) -> str:
    name = account.get_broker_display()
    if isinstance(exc, LoginExpired):
        return f"{name} does not accept this login; start again. Its words: {said}."
    if isinstance(exc, BrokerUnavailable):
        return f"{name} could not be asked, so nothing was changed here; try again. What happened: {said}."
    if isinstance(exc, BadReply):
        return (
            f"{name} answered something else than it should, so nothing was changed here. What came: {said}."
        )
    return f"Not logged in: {said}."


def _without(secrets: Iterable[str], text: str) -> str:
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    return text
