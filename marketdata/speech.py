"""How a broker's feed speaks: all that a broker's listener has to say for itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from marketdata.columns import ColumnReader
from marketdata.domain.errors import BrokerError
from marketdata.domain.ticks import FeedMode, Tick
from marketdata.subscribed import WireToken
from marketdata.transport import Handshake, HandshakeRefused, TransportOptions


class Speech(ABC):
    """Where a feed is, what a subscription looks like, what a message means. No life cycle."""

    options: ClassVar[TransportOptions] = TransportOptions()
    instruments_per_connection: ClassVar[int | None] = None

    def load(self) -> None:  # noqa: B027 - most brokers have nothing heavy
        """Import what is heavy. Called in a thread before the first handshake: the loop has stops to watch."""

    @abstractmethod
    def handshake(self) -> Handshake:
        """Return where to connect, with the credentials of ``broker_config``."""

    @abstractmethod
    def opening_messages(self, wanted: Mapping[WireToken, FeedMode]) -> Sequence[str]:
        """Return what to send on a new connection so that it carries ``wanted``, by wire token.

        Called once for each connection, also when nothing is wanted yet.
        """

    @abstractmethod
    def subscribe_messages(self, tokens: Sequence[WireToken], mode: FeedMode) -> Sequence[str]:
        """Return what adds ``tokens`` to the open connection."""

    @abstractmethod
    def mode_messages(self, tokens: Sequence[WireToken], mode: FeedMode) -> Sequence[str]:
        """Return what moves ``tokens``, carried already, to ``mode`` without a gap."""

    @abstractmethod
    def unsubscribe_messages(self, tokens: Sequence[WireToken]) -> Sequence[str]:
        """Return what removes ``tokens`` from the open connection."""

    @abstractmethod
    def decode(self, frame: bytes, *, received_at: float, symbols: Mapping[WireToken, str]) -> Sequence[Tick]:
        """Return the ticks of a binary message; raises ``BadFrame``. ``symbols`` is by wire token."""

    def columns(self) -> ColumnReader | None:
        """Return what reads large frames in columns; None: they are decoded packet by packet."""
        return None

    def joined(self, messages: Sequence[bytes | str]) -> Sequence[bytes | str]:
        """Return messages that came together with some put into one, where that means the same."""
        return messages

    def goodbye(self) -> BrokerError | None:
        """Return what it means that the frame just decoded ended the connection; None: it did not."""
        return None

    @abstractmethod
    def read_text(self, text: str) -> None:
        """Read a text message, emitting what it says; raises ``BadFrame``."""

    def wire_token(self, token: str) -> WireToken:
        """Return the form in which frames carry ``token`` of the instrument list.

        Raises:
            ValueError: Not a token of this broker.

        """
        return token

    def refused(self, error: HandshakeRefused) -> BrokerError:
        """Return what a refused handshake means, ``LoginExpired`` for a dead token."""
        return error

    async def diagnose(self, error: Exception) -> Exception:
        """Return what it means that a connection ended with ``error`` before it carried anything.

        May ask the broker elsewhere whether the token lives. Cancelled when another attempt is wanted.
        """
        return error
