"""Dhan's exchange segments. A security id means something only together with its segment.

Source: DhanHQ v2 documentation, "Annexure" and "Instrument List".
"""

from __future__ import annotations

INDICES = "IDX_I"

LISTED = {
    ("NSE", "E"): ("NSE_EQ", "NSE"),
    ("NSE", "D"): ("NSE_FNO", "NFO"),
    ("NSE", "C"): ("NSE_CURRENCY", "CDS"),
    ("NSE", "I"): (INDICES, "NSE"),
    ("BSE", "E"): ("BSE_EQ", "BSE"),
    ("BSE", "D"): ("BSE_FNO", "BFO"),
    ("BSE", "C"): ("BSE_CURRENCY", "BCD"),
    ("BSE", "I"): (INDICES, "BSE"),
    ("MCX", "M"): ("MCX_COMM", "MCX"),
}
"""Exchange and segment of the instrument list -> segment of feed and orders, our exchange."""

_DIGITS = 10  # frames carry four bytes
SEGMENTS = frozenset(segment for segment, _ in LISTED.values())


def token_of(segment: str, security_id: str) -> str:
    """Return the token text of the instrument table: ``NSE_EQ:2885``."""
    return f"{segment}:{security_id}"


def is_token(token: str) -> bool:
    """Tell whether ``split_token`` can read a text."""
    try:
        split_token(token)
    except ValueError:
        return False
    return True


def split_token(token: str) -> tuple[str, str]:
    """Return segment and security id of a token text.

    Raises:
        ValueError: Not such a text.

    """
    segment, separator, security_id = token.partition(":")
    is_number = security_id.isascii() and security_id.isdigit() and len(security_id) <= _DIGITS
    if not separator or segment not in SEGMENTS or not is_number:
        raise ValueError(f"token {token!r}: expected SEGMENT:ID, as in NSE_EQ:2885")
    return segment, security_id
