"""Brings the picture to those who look: each change is encoded once and goes to everybody as a server-sent event.

A browser that comes back after a break gets what it missed, as long as that is still here, and else everything. One
that does not keep up loses its queue and is given everything once it reads again: nobody else waits for it, and what
is kept for it is bounded.
"""

import asyncio
from collections import deque
from collections.abc import Callable

KEPT_TICKS = 60  # a break of a minute costs what was missed, a longer one everything
QUEUE_TICKS = 8  # that a viewer may be behind


class Viewer:
    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._came = asyncio.Event()
        self.lost_track = False  # what it was to be told did not fit
        self.closing = False

    def push(self, event: bytes) -> None:
        if len(self._queue) >= QUEUE_TICKS:
            self._queue.clear()
            self.lost_track = True
        if not self.lost_track:
            self._queue.append(event)
        self._came.set()

    def close(self) -> None:
        """Nothing more will come."""
        self.closing = True
        self._came.set()

    async def next(self) -> bytes | None:
        """The next event; None when it has lost track, or at the end."""
        while not self._queue:
            if self.lost_track or self.closing:
                return None
            self._came.clear()
            await self._came.wait()
        return self._queue.popleft()


class Hub:
    """`whole` gives the text of the whole picture as of the tick that was published last."""

    def __init__(self, whole: Callable[[], str]) -> None:
        self.viewers: set[Viewer] = set()
        self._whole = whole
        self._whole_event: tuple[int, bytes] = (-1, b"")  # of which tick, so that a crowd costs one
        self._ticks: deque[tuple[int, bytes]] = deque(maxlen=KEPT_TICKS)
        self._number = 0

    def publish(self, number: int, text: str) -> None:
        """What tick `number` has changed."""
        event = sse("tick", number, text)
        self._number = number
        self._ticks.append((number, event))
        for viewer in self.viewers:
            viewer.push(event)

    def join(self, last_seen: int | None) -> tuple[Viewer, list[bytes]]:
        """A new viewer, and what it has to be told first. `last_seen` is the tick that it had before a break."""
        viewer = Viewer()
        self.viewers.add(viewer)
        return viewer, self._missed(last_seen)

    def leave(self, viewer: Viewer) -> None:
        self.viewers.discard(viewer)

    def whole(self) -> bytes:
        """The event that tells everything."""
        if self._whole_event[0] != self._number:
            self._whole_event = (self._number, sse("whole", self._number, self._whole()))
        return self._whole_event[1]

    def close(self) -> None:
        for viewer in self.viewers:
            viewer.close()

    def _missed(self, last_seen: int | None) -> list[bytes]:
        first = self._ticks[0][0] if self._ticks else self._number + 1
        if last_seen is None or not first - 1 <= last_seen <= self._number:
            return [self.whole()]
        return [event for number, event in self._ticks if number > last_seen]


def sse(name: str, number: int, text: str) -> bytes:
    """A server-sent event. `text` is JSON on one line."""
    return f"event: {name}\nid: {number}\ndata: {text}\n\n".encode("utf-8", "replace")
