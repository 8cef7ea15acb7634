"""What can go wrong at a broker, by what the caller should do.

* :exc:`BrokerError`
    * :exc:`BrokerUnavailable`   did not reach the broker, or it did not answer: try again
        * :exc:`TryLater`        but not before some time has passed
    * :exc:`BrokerRejected`      refused; the same request will be refused again
    * :exc:`LoginExpired`        a person has to log in again
    * :exc:`BadFrame`            not the documented shape: drop it and count it
    * :exc:`BadReply`            an answer, but not the documented shape: nothing was learnt
* :exc:`UnknownBroker`, :exc:`UnknownInstrument`   asked for something that does not exist

A write never raises these: its fate is a ``WriteResult``.
"""

from __future__ import annotations


class BrokerError(Exception):
    """A broker could not do what was asked."""


class BrokerUnavailable(BrokerError):
    """The broker was not reached or did not answer; trying again is safe for reads."""


class TryLater(BrokerUnavailable):
    """Trying again at once would only make it worse: not before ``after_s`` seconds."""

    def __init__(self, message: str, after_s: float) -> None:
        super().__init__(message)
        self.after_s = after_s


class BrokerRejected(BrokerError):
    """The broker refused; the same request will be refused again."""


class LoginExpired(BrokerError):
    """The access token is dead; a person has to log in again."""


class BadFrame(BrokerError):
    """A feed message that is not of the documented shape."""


class BadReply(BrokerError):
    """An answer that is not of the documented shape. Not knowing is not the same as none."""


class UnknownBroker(ValueError):
    """No broker of that name is registered."""


class UnknownInstrument(LookupError):
    """The broker's instrument list has no such symbol."""
