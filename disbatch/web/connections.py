"""How long a connection to the page may stay, and which one makes room. What is sent over it is read elsewhere.

aiohttp bounds the time between two requests, not that of a header, a body or an answer. So each of its connections
stands behind one of these, which passes everything on and keeps the times. A connection is a stranger's until it has
sent a request with the page's secret: strangers have little time, and are the ones that make room.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple


class Limits(NamedTuple):
    """Times in seconds."""

    connections: int = 300
    """At the same time, known or not: descriptors are for the run first of all."""

    stranger_s: float = 10.0
    """For a first request that proves itself, and for the refusal of one that does not."""

    body_s: float = 10.0
    """For the body of an order, which has a few bytes."""

    answer_s: float = 300.0
    """From a request to the end of its answer, or to the next request: plotly.js (5 MB) over 20 KB/s."""

    stalled_s: float = 60.0
    """For a viewer of the stream whose connection takes nothing at all. It comes back by itself and gets everything."""

    linger_s: float = 2.0
    """For what a peer still sends after its request was answered: hung up on at once, it might not read the answer."""

    idle_s: float = 30.0
    """Between two requests."""


LIMITS = Limits()


class Connections:
    """All connections of one page. `make` makes the protocol that serves one of them."""

    def __init__(self, make: Callable[[], asyncio.Protocol], limits: Limits, log: logging.Logger) -> None:
        self.limits = limits
        self._make = make
        self._log = log
        self._all: dict[asyncio.BaseTransport, Connection] = {}
        self._strangers: dict[Connection, None] = {}  # the oldest first
        self._told = False

    def connection(self) -> asyncio.Protocol:
        """For `create_server`."""
        return Connection(self, self._make())

    def proven(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that a request with the secret has come."""
        if found := self._all.get(transport) if transport else None:
            self._strangers.pop(found, None)
            found.end_in(self.limits.answer_s)

    def streams(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that the answer has no end: from now on it only has to be taken."""
        if found := self._all.get(transport) if transport else None:
            found.stream(self.limits.stalled_s)

    def __len__(self) -> int:
        return len(self._all)

    def enter(self, connection: "Connection", transport: asyncio.BaseTransport) -> None:
        """Take in a new connection. The oldest stranger is cut off where there are too many: that may be this one."""
        self._all[transport] = connection
        self._strangers[connection] = None
        connection.end_in(self.limits.stranger_s)
        if len(self._all) > self.limits.connections:
            if not self._told:
                self._told = True
                self._log.warning(
                    "the web page has %d connections: the oldest that show no token make room for new ones",
                    self.limits.connections,
                )
            next(iter(self._strangers)).end()

    def leave(self, connection: "Connection", transport: asyncio.BaseTransport) -> None:
        """Forget one that has ended, or that is about to. May be called twice."""
        self._all.pop(transport, None)
        self._strangers.pop(connection, None)


class Connection(asyncio.Protocol):
    """One connection; what comes goes on to `served`."""

    def __init__(self, room: Connections, served: asyncio.Protocol) -> None:
        self._room = room
        self._served = served
        self._timer: asyncio.TimerHandle | None = None
        self._stalled_s: float | None = None  # of a stream
        self._transport: asyncio.Transport | None = None

    def end_in(self, seconds: float | None) -> None:
        """End it that long from now, or not at all; what was said before counts no more."""
        if self._timer:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = None if seconds is None else loop.call_later(seconds, self.end)

    def end(self) -> None:
        """Cut it off: waiting until all is taken would be waiting for ever."""
        if self._transport:
            self._room.leave(self, self._transport)
            self._transport.abort()

    def stream(self, stalled_s: float) -> None:
        self._stalled_s = stalled_s
        self.end_in(None)

    # -- from the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._served.connection_made(transport)
        self._room.enter(self, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.end_in(None)
        if self._transport:
            self._room.leave(self, self._transport)
        self._transport = None
        self._served.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._served.data_received(data)

    def eof_received(self) -> bool | None:
        return self._served.eof_received()

    def pause_writing(self) -> None:
        if self._stalled_s is not None:
            self.end_in(self._stalled_s)
        self._served.pause_writing()

    def resume_writing(self) -> None:
        if self._stalled_s is not None:
            self.end_in(None)
        self._served.resume_writing()
