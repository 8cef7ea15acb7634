"""How long tokens live, and what one is worth at the door."""

from __future__ import annotations

from marketdata.simulator.accounts import Account
from marketdata.simulator.market import Market

LIFE_S = 24 * 3_600
EXPIRED, WRONG_TOKEN, WRONG_CLIENT = 807, 809, 810


class Sessions:
    """Tokens of 24 hours, counted from when this place first saw them."""

    def __init__(self, market: Market) -> None:
        self._accounts = market.exchange.accounts
        self._clock = market.clock
        self._seen_at: dict[str, float] = {}
        self.issued: set[str] = set()
        """Tokens from a login here, which cannot be renewed; others were made on the web site."""

    def expires_at(self, account: Account) -> float:
        """Return when an account's token dies, UNIX seconds."""
        return self._seen_at.setdefault(account.access_token, self._clock.time()) + LIFE_S

    def by_token(self, token: str) -> Account | None:
        """Return whose living token this is."""
        found = next((a for a in self._accounts if token and a.access_token == token), None)
        return found if found and self.expires_at(found) > self._clock.time() else None

    def by_client(self, client_id: str) -> Account | None:
        return next((a for a in self._accounts if a.client_id == client_id), None)

    def fault_of(self, client_id: str, token: str) -> int:
        """Return the code of what is wrong with credentials, 0 when nothing is."""
        account = self.by_client(client_id)
        if account is None:
            return WRONG_CLIENT
        if self.by_token(token) is account:
            return 0
        return EXPIRED if token in self._seen_at else WRONG_TOKEN

    def renew(self, account: Account, *, by_hand: bool) -> str:
        """Return a new token; the one before is dead."""
        self.expires_at(account)  # so that the old one is known to have lived
        token = self._accounts.mint(account.client_id)
        self.expires_at(account)
        if not by_hand:
            self.issued.add(token)
        return token
