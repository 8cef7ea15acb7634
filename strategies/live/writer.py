"""The only sender of one socket: what its room tells everybody, numbered, as fast as its browser reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from marketdata.domain.clock import Clock
from strategies.live.board import PriceBoard
from strategies.live.frames import Frame, frame
from strategies.live.outbox import Credit

STALLED = 4408
SEND_WITHIN_S = 5.0
SNAPSHOT_EVERY_S = 0.5
NEWS_KEPT = 500


class PageWriter:
    """What one page still has to be told.

    Others only put away here, at once and without waiting; ``run`` alone sends. Of prices nothing is
    kept but the number of the last ones sent: the board has them.

    Args:
        board: The prices that this page shares with others.
        clock: The wall clock stamps what is said to this page alone, the monotonic one judges patience.
        send: Sends one text frame.
        end: Called at most once, with the code to close with. Returns at once.
        credit: Price frames that may be under way unacknowledged.
        patience_s: How long a page may keep its credit used up.

    """

    def __init__(
        self,
        board: PriceBoard,
        clock: Clock,
        *,
        send: Callable[[str], Awaitable[None]],
        end: Callable[[int], None],
        credit: int = 4,
        patience_s: float = 10.0,
    ) -> None:
        self._board = board
        self._clock = clock
        self._send = send
        self._end = end
        self._credit = Credit(frames=credit, patience_s=patience_s)
        self._queue: deque[Frame] = deque()
        self._seen = 0
        self._seq = 0
        self._is_snapshot_wanted = True
        self._snapshot_due = float("-inf")
        self._is_paused = False
        self._is_over = False
        self._sending_since: float | None = None
        self._wake = asyncio.Event()
        self.has_begun = False
        """Whether it has its first snapshot: until then nothing is sent."""

    # --- put away -----------------------------------------------------------------------

    def tell(self, news: Frame) -> None:
        """Have the page told something, after what it has to be told already."""
        if len(self._queue) >= NEWS_KEPT:  # a page that reads nothing: start over with it
            self._queue.clear()
            self._is_snapshot_wanted = True
        self._queue.append(news)
        self._wake.set()

    def say(self, kind: str, body: object) -> None:
        """Have this page alone told something."""
        self.tell(frame(kind, int(self._clock.time() * 1000), body=body))

    def promise_snapshot(self, now: float) -> None:
        """Note that one is being made; what is wanted from now on is another."""
        self._is_snapshot_wanted, self._snapshot_due = False, now + SNAPSHOT_EVERY_S

    def begin_again(self, snapshot: Sequence[Frame], number: int) -> None:
        """Give it everything; ``number`` is the board's as of which the snapshot's prices are.

        Args:
            snapshot: Its parts. Nothing comes between them.
            number: What the page has seen of the prices then.

        """
        self._seen = number
        if self.has_begun:
            self._queue.extend(snapshot)
        else:  # what came in while its first snapshot was read comes after it
            self._queue.extendleft(reversed(snapshot))
        self.has_begun = True
        self._wake.set()

    def show_prices(self) -> None:
        """Look at the board: it has turned."""
        self._wake.set()

    # --- what the page says -------------------------------------------------------------

    def ack(self, seq: int) -> None:
        """Count a price frame, and all before it, as read."""
        self._credit.ack(seq)
        self._wake.set()

    def want_snapshot(self) -> None:
        """Send everything once more, when there is time."""
        self._is_snapshot_wanted = True

    def pause(self) -> None:
        """Send no prices: nobody sees the page."""
        self._is_paused = True
        self._credit.clear()

    def resume(self) -> None:
        """Catch up by a snapshot, then go on with prices."""
        self._is_paused = False
        self._is_snapshot_wanted = True

    # --- what the room asks -------------------------------------------------------------

    def awaits_snapshot(self, now: float) -> bool:
        """Tell whether a snapshot may be sent now: wanted, not too soon after the last, and it reads."""
        return self._is_snapshot_wanted and now >= self._snapshot_due and not self._credit.is_used_up

    def judge(self, now: float) -> None:
        """End a page that reads nothing any more."""
        stuck = self._sending_since is not None and now - self._sending_since > SEND_WITHIN_S
        if stuck or self._credit.is_stalled(now):
            self.end(STALLED)

    def end(self, code: int) -> None:
        """Have the socket closed."""
        if not self._is_over:
            self._is_over = True
            self._end(code)

    # --- send ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while (text := self._next()) is not None:
                self._sending_since = self._clock.monotonic()
                await self._send(text)
                self._sending_since = None

    def _next(self) -> str | None:
        if not self.has_begun:
            return None
        message = self._queue.popleft() if self._queue else self._next_prices()
        if message is None:
            return None
        self._seq += 1
        return message.numbered(self._seq)

    def _next_prices(self) -> Frame | None:
        if self._is_paused or self._seen == self._board.number:
            return None
        if self._credit.is_used_up:
            self._credit.blocked(self._clock.monotonic())
            return None
        message, self._seen = self._board.since(self._seen)
        self._credit.sent(self._seq + 1)
        return message
