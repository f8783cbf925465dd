"""The socket of one connection in the server's event loop: reads, writes, slow readers, the end. No protocol here.

The event loop's own transports cost more than an operation of the store does. Here all sockets share one epoll, whose
descriptor the loop watches, and one buffer; a reply is sent at once, and kept only when the peer's socket is full.
"""

import asyncio
import contextlib
import fcntl
import select
import socket
import sys
import termios
import time
from collections.abc import Callable
from typing import Protocol

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
# Sockets that are looked after before the loop's other work has its turn.
_EVENTS = 256
# A process that does nothing else than to serve stays here for so long: going round the event loop for each message
# would double its price.
_STAY_S = 0.02
# How long it waits for the next message before it goes back to the event loop, which costs nothing while it waits.
_LINGER_S = 0.005
# How often it is looked whether the kernel keeps something back, see `Channel.expect`.
_PATROL_S = 0.005
# After so many looks at a connection on which nothing moves it expects nothing any more: idle ones cost nothing.
_LOOKS = 20
# How often it is looked for the rest of what is awaited, awake: some 50 us, as long as a client of old needs for it.
_GLANCES = 40


class Watched(Protocol):
    """What has a descriptor to be watched."""

    def ready(self, events: int) -> None: ...


class Poller:
    """Tells channels and listeners when their sockets can be read or written. Belongs to the thread of the running loop.
    `alone`: the loop has no other work that could not wait for some milliseconds."""

    def __init__(self, alone: bool) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Watched] = {}
        self._expecting: set[Channel] = set()
        self._gone: list[Callable[[], None]] = []
        self._patrol: asyncio.TimerHandle | None = None
        self._look_at = 0.0
        self._loop = asyncio.get_running_loop()
        self.gather_s = 0.0
        """After a turn in which something was read, the next one is so much later, and finds more."""
        self.crowded = False  # whether the last look found more than one
        self.hurry_until = 0.0  # by the loop's clock: until then that is not done
        self._gathering: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._epoll.fileno(), self._stay if alone else self._turn)

    def watch(self, who: Watched, descriptor: int, before: int, mask: int) -> None:
        """Watch for what is in `mask` instead of `before`. Without any, not even errors are told. Raises OSError when there
        is something to be watched and that is not possible."""
        if not before:
            self._epoll.register(descriptor, mask)
            self._watched[descriptor] = who
        elif mask:
            self._epoll.modify(descriptor, mask)
        else:
            del self._watched[descriptor]
            with contextlib.suppress(OSError):
                # whoever is not watched is closed next, and so leaves the epoll, or is not called any more
                self._epoll.unregister(descriptor)

    def expecting(self, channel: "Channel") -> None:
        """Have a look at this channel soon, in case that what it expects does not come."""
        self._expecting.add(channel)
        if self._patrol is None:
            self._look_later()

    def bury(self, action: Callable[[], None]) -> None:
        """Do this when all that has happened until now has been dealt with."""
        if not self._gone:
            self._loop.call_soon(self._bury_all)
        self._gone.append(action)

    def close(self) -> None:
        if self._patrol is not None:
            self._patrol.cancel()
        if self._gathering is not None:
            self._gathering.cancel()
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _turn(self) -> None:
        watched = self._watched
        found = self._epoll.poll(0, _EVENTS)
        for descriptor, events in found:
            # One before may have ended this one. Its number is not another's yet: sockets are closed below.
            who = watched.get(descriptor)
            if who is not None:
                who.ready(events)
        if self._gone:
            self._bury_all()
        if self.gather_s or self._gathering is not None:
            self._gather(bool(found) and self._loop.time() >= self.hurry_until)

    def _gather(self, later: bool) -> None:
        """Have the next turn in a while, or else as soon as there is something."""
        if later:
            if self._gathering is None:
                self._loop.remove_reader(self._epoll.fileno())
            self._gathering = self._loop.call_later(self.gather_s, self._turn)
        elif self._gathering is not None:
            self._gathering = None
            self._loop.add_reader(self._epoll.fileno(), self._turn)

    def _stay(self) -> None:
        now = time.monotonic()
        end = now + _STAY_S
        poll, watched, wait_s = self._epoll.poll, self._watched, 0.0
        while now < end:
            found = poll(wait_s, _EVENTS)
            if not found:
                return
            self.crowded = len(found) > 1
            for descriptor, events in found:  # as in `_turn`
                who = watched.get(descriptor)
                if who is not None:
                    who.ready(events)
            if self._gone:
                self._bury_all()
            now = time.monotonic()
            if self._patrol is not None and now > self._look_at:
                self._patrol.cancel()
                self._look()
            wait_s = _LINGER_S

    def _bury_all(self) -> None:
        gone, self._gone = self._gone, []
        for action in gone:
            action()

    def _look(self) -> None:
        self._patrol = None
        for channel in list(self._expecting):
            if not channel.keep_expecting():
                self._expecting.discard(channel)
        if self._expecting and self._patrol is None:
            self._look_later()

    def _look_later(self) -> None:
        self._look_at = time.monotonic() + _PATROL_S
        self._patrol = self._loop.call_later(_PATROL_S, self._look)


class Channel:
    """What is read goes to `received`. What is written and does not fit into the socket is kept; above `output_bytes`
    of it `paused` is set, and `resumed` is called when a quarter is left. `lost` is called once, behind all else that has happened,
    when the connection is gone, with the error or None."""

    __slots__ = (
        "_buffer",
        "_descriptor",
        "_error",
        "_kept",
        "_looks",
        "_mask",
        "_moved",
        "_output_bytes",
        "_poller",
        "_recv",
        "_send",
        "_sock",
        "awaited",
        "closing",
        "least",
        "paused",
    )

    def __init__(self, sock: socket.socket, poller: Poller, buffer: memoryview, output_bytes: int):
        self._sock = sock
        self._descriptor = sock.fileno()
        self._recv = sock.recv_into
        self._send = sock.send
        self._poller = poller
        # Shared by all: whoever has read empties it before the next one reads. A fresh one for each read would cost
        # three times as much as the read itself.
        self._buffer = buffer
        self._kept = bytearray()
        self._output_bytes = output_bytes
        self._mask = 0
        self._error: OSError | None = None
        self.least = 1
        self.awaited = 0
        """Less than that is not worth to be read: what is missing is looked for, without going to sleep, for a moment."""
        self._looks = 0
        self._moved = False
        self.paused = False
        self.closing = False

    def fileno(self) -> int:
        """Return the descriptor of the socket, -1 when it is closed."""
        return self._sock.fileno()

    # For those above.

    def received(self, data: memoryview) -> None:
        """These bytes came. They are valid until this returns."""
        raise NotImplementedError

    def ended(self) -> None:
        """The peer will send no more. What is kept for it is still sent."""

    def resumed(self) -> None:
        """The peer has read most of what was kept for it."""

    def missed(self) -> None:
        """Less came than was expected."""

    def failed(self, error: Exception) -> None:
        """Our own mistake, not the peer's; the connection is aborted after this."""

    def lost(self, error: OSError | None) -> None:
        """The connection is gone."""

    # What they may ask for.

    def read(self, wanted: bool) -> None:
        """Begin, or stop, to read."""
        if not self.closing:
            self._watch(self._mask | READ if wanted else self._mask & ~READ)

    def expect(self, count: int) -> None:
        """Not to be woken for less than `count` bytes, if they come soon: what does not is read some milliseconds later,
        after a call of `missed`."""
        if count != self.least and not self.closing:
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            except OSError as error:
                self.abort(error)
                return
            self.least = count
            if count > 1:
                self._poller.expecting(self)

    def write(self, data: bytes) -> None:
        """Send, or keep what does not fit. Without effect on a connection that is ending."""
        if self.closing or not data:
            return
        if self._kept:
            self._kept += data
        else:
            try:
                sent = self._send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError as error:
                self.abort(error)
                return
            if sent == len(data):
                return
            self._kept += memoryview(data)[sent:]
            self._watch(self._mask | WRITE)
        if len(self._kept) > self._output_bytes:
            self.paused = True

    def close(self) -> None:
        """End when what is kept has been sent. Nothing more is read."""
        if self.closing:
            return
        self._watch(self._mask & ~READ)
        self.closing = True
        if not self._kept:
            self._end(None)

    def abort(self, error: OSError | None = None) -> None:
        """End at once."""
        if self._descriptor >= 0:
            self._kept.clear()
            self.closing = True
            self._end(error)

    # What the poller calls.

    def keep_expecting(self) -> bool:
        """Whether to look again: false when for some time nothing has come, and from now on any byte will do."""
        if self.closing or self.least == 1:
            return False
        if self._moved:
            self._moved, self._looks = False, 0
        elif self._mask & READ and self._bytes_wait():
            self.expect(1)
            self.missed()
            self.ready(READ)
        else:
            self._looks += 1
            if self._looks >= _LOOKS:
                self.expect(1)
        return self.least > 1

    def ready(self, events: int) -> None:
        self._moved = True
        try:
            if events == READ == self._mask:
                self._readable()
                return
            if events & WRITE or not self._mask & READ:
                self._writable()
            if events & ~WRITE and self._mask & READ:
                self._readable()
        except Exception as error:
            # The top of this connection: the others go on, whatever we did wrong here.
            self.failed(error)
            self.abort()

    def _readable(self) -> None:
        try:
            count = self._recv(self._buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.abort(error)
            return
        if count:
            if count < self.awaited and not self._poller.crowded:
                count = self._await_rest(count)
            self.received(self._buffer[:count])
        else:
            self.ended()
            self.close()

    def _await_rest(self, count: int) -> int:
        """Look for more behind these bytes of the buffer; returns how many there are. An end or an error is left to be
        found by the next read."""
        awaited, recv = self.awaited, self._recv
        rest = self._buffer[count:]
        for _ in range(_GLANCES):
            try:
                more = recv(rest)
            except BlockingIOError:
                continue
            except OSError:
                break
            count += more
            if not more or count >= awaited:
                break
            rest = rest[more:]
        return count

    def _writable(self) -> None:
        try:
            sent = self._send(self._kept)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self.abort(error)
            return
        del self._kept[:sent]
        if not self._kept:
            self._watch(self._mask & ~WRITE)
            if self.closing:
                self._end(None)
                return
        if self.paused and len(self._kept) <= self._output_bytes // 4:
            self.paused = False
            self.resumed()

    def _bytes_wait(self) -> bool:
        """Return True if there is something to be read; an error is left to be found by the read."""
        try:
            answer = fcntl.ioctl(self._sock, termios.FIONREAD, bytes(4))
        except OSError:
            return True
        return int.from_bytes(answer, sys.byteorder) > 0

    def _watch(self, mask: int) -> None:
        if mask != self._mask:
            try:
                self._poller.watch(self, self._descriptor, self._mask, mask)
            except OSError as error:
                # unwatched it would hang: its peer connects again
                self.abort(error)
                return
            self._mask = mask

    def _end(self, error: OSError | None) -> None:
        if self._descriptor < 0:
            return
        self._watch(0)
        self._descriptor = -1
        self._error = error
        self._poller.bury(self._gone)

    def _gone(self) -> None:
        self._sock.close()
        self.lost(self._error)
