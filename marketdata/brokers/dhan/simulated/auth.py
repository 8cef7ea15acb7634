"""How a token is come by: a PIN and a one-time code, or an API key and the consent of a person."""

from __future__ import annotations

import base64
import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from datetime import datetime

from aiohttp import web

from marketdata.brokers.dhan.simulated.calls import Call
from marketdata.brokers.dhan.simulated.demo import DHAN_PIN, DHAN_TOTP_SECRET
from marketdata.brokers.dhan.simulated.errors import DhanError, dead_token
from marketdata.brokers.dhan.simulated.views import Json
from marketdata.simulator.accounts import Account
from marketdata.simulator.exchange import IST
from marketdata.simulator.limits import Windows

_STEP_S = 30
_CONSENTS_PER_DAY = 25
_DAY_S = 86_400.0
_BETWEEN_TOKENS_S = 120.0


def totp(secret: str, at: float) -> str:
    """Return the six digits an authenticator app shows (RFC 6238).

    Args:
        secret: Base32.
        at: UNIX seconds.

    """
    counter = struct.pack(">Q", int(at) // _STEP_S)
    digest = hmac.new(base64.b32decode(secret), counter, hashlib.sha1).digest()
    offset = digest[-1] & 0xF
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 1_000_000:06d}"


@dataclass(slots=True)
class Desk:
    """Consents and token ids that were given out and not yet used, and how often that happened."""

    windows: Windows
    consents: dict[str, str] = field(default_factory=dict)
    token_ids: dict[str, str] = field(default_factory=dict)

    # --- PIN and one-time code ----------------------------------------------------------
    def generate(self, call: Call) -> Json:
        """Exchange PIN and code for a token; refusals are 200 with an error in the body."""
        account = call.sessions.by_client(call.query("dhanClientId"))
        if account is None:
            return _error("Invalid Client ID")
        if call.query("pin") != DHAN_PIN:
            return _error("Invalid Pin")
        now = call.market.clock.time()
        codes = {totp(DHAN_TOTP_SECRET, now + step * _STEP_S) for step in (-1, 0, 1)}
        if call.query("totp") not in codes:
            return _error("Invalid TOTP")
        if not self._may(call, account, "tokens", 1, _BETWEEN_TOKENS_S):
            return _error("Token can be generated once every 2 minutes.")
        return _session(call, account)

    def _may(self, call: Call, account: Account, bucket: str, limit: int, window_s: float) -> bool:
        if not call.market.enforces_limits:
            return True
        return self.windows.admits(account.client_id, bucket, limit, window_s)

    # --- API key and consent ------------------------------------------------------------
    def consent(self, call: Call) -> Json:
        """Open a consent, to be given in a browser."""
        account = _app(call)
        if call.query("client_id") != account.client_id:
            raise DhanError("Invalid Client ID", "DH-901", 401)
        if not self._may(call, account, "consents", _CONSENTS_PER_DAY, _DAY_S):
            raise DhanError("Maximum consents for the day exceeded", "DH-904", 429)
        consent_id = call.market.exchange.accounts.made_up("consent", account.client_id)
        self.consents[consent_id] = account.client_id
        return {"consentAppId": consent_id, "consentAppStatus": "GENERATED", "status": "success"}

    def login(self, call: Call) -> web.Response:
        """Let the person consent without asking, and send the browser back with a token id."""
        accounts = call.market.exchange.accounts
        client_id = self.consents.pop(call.query("consentAppId"), None)
        if client_id is None:
            return web.Response(text="Details not found", status=400)
        target = accounts.get(client_id).redirect_url or "http://127.0.0.1:8000/brokers/dhan/callback/"
        token_id = accounts.made_up("token id", client_id)
        self.token_ids[token_id] = client_id
        joint = "&" if "?" in target else "?"
        return web.Response(status=302, headers={"Location": f"{target}{joint}tokenId={token_id}"})

    def consume(self, call: Call) -> Json:
        """Exchange a token id for a token, once."""
        account = _app(call)
        if self.token_ids.get(call.query("tokenId")) != account.client_id:
            raise DhanError("Invalid Token ID", "DH-901", 401)
        del self.token_ids[call.query("tokenId")]
        return _session(call, account)

    def renew(self, call: Call) -> Json:
        """Refuse what the real one refuses: only tokens made by hand on the web site renew."""
        if call.account.access_token in call.sessions.issued:
            raise DhanError("Renewal of token not allowed for this token type")
        return _session(call, call.account, by_hand=True)


def _app(call: Call) -> Account:
    """Return whose API key the request carries."""
    headers = call.request.headers
    key, secret = headers.get("app_id", ""), headers.get("app_secret", "")
    account = call.market.exchange.accounts.by_api_key(key)
    if account is None or not hmac.compare_digest(account.api_secret.encode(), secret.encode()):
        raise dead_token()
    return account


def _session(call: Call, account: Account, *, by_hand: bool = False) -> Json:
    token = call.sessions.renew(account, by_hand=by_hand)
    expiry = datetime.fromtimestamp(call.sessions.expires_at(account), IST)
    return {
        "dhanClientId": account.client_id,
        "dhanClientName": account.client_id,
        "dhanClientUcc": f"UCC{account.client_id}",
        "givenPowerOfAttorney": False,
        "accessToken": token,
        "expiryTime": f"{expiry:%Y-%m-%dT%H:%M:%S}.000",
    }


def _error(message: str) -> Json:
    return {"message": message, "status": "error"}
