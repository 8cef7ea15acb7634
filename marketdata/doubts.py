"""Words in a broker's refusal that leave open whether there is an order after all."""

from __future__ import annotations

import re

# Brokers do not document their texts, so this errs on the side of doubt: an order doubted in vain is
# looked for by its tag and a person is told; one refused in vain would be sent a second time.
_DOUBT = re.compile(
    r"tim(?:ed|e|ing)[ -]*out|order[ -]?book|order status|confirm|"
    r"\b(?:re-?)?try(?:ing)?\b|temporar|unavailable|not available|"
    r"no response|not respond|did not answer|gateway|connect|network|internal|unknown error|"
    r"something went wrong|in progress|processing|already",
    re.IGNORECASE,
)


def leaves_doubt(text: str) -> bool:
    """Tell whether a refusal's text says that its sender does not know what became of the order."""
    return _DOUBT.search(text) is not None
