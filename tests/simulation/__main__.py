"""``python -m tests.simulation``: many seeds in several processes, or one seed with its log."""

from __future__ import annotations

import sys

from tests.simulation.campaign import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
