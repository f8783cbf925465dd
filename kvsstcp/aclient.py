"""The asyncio client: one connection, one waiting get or view at a time, puts that never block.

It does not reconnect by itself: who holds it learns of the end by `lost` and decides.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from kvsstcp import wire
from kvsstcp.errors import ConnectionFailed, ConnectionLost, KvsError, UsageError
from kvsstcp.infofile import Address, format_address
from kvsstcp.limits import DEFAULT_LIMITS, Limits
from kvsstcp.link import Link, make_guards
from kvsstcp.sockets import reason
from kvsstcp.values import Value
from kvsstcp.wire import CANCEL, CLOSE, GET, TAKE, VIEW

# One dead candidate must not hold up the others; nor should all be tried where the first one answers.
_NEXT_CANDIDATE_S = 0.25
# How long `close` waits for the server to have read everything.
_CLOSE_S = 5.0


class AsyncClient:
    """Made by `connect`. `lost` is a future that gets the reason as text when the connection ends, for whatever reason
    (shield it where it is awaited with a timeout)."""

    def __init__(self, link: Link):
        self._link = link
        self._reading = False
        self._abandoned: tuple[tuple[bytes, bytes], asyncio.Future[Value | None]] | None = None
        self._kept: dict[tuple[bytes, bytes], deque[Value]] = {}
        self.lost = link.lost
        assert link.transport is not None
        self.local_address: Address = link.transport.get_extra_info("sockname")[:2]
        self.peer_address: Address = link.transport.get_extra_info("peername")[:2]

    @classmethod
    async def connect(
        cls,
        addresses: Sequence[Address],
        *,
        token: bytes | None = None,
        certificate_pem: bytes | None = None,
        timeout_s: float = 30,
        limits: Limits = DEFAULT_LIMITS,
    ) -> "AsyncClient":
        """Connect to the first candidate that proves itself; each next one is tried a quarter of a second after the one
        before, or when all before have failed. Raises ConnectionFailed, naming every candidate and its reason."""
        if not addresses:
            raise UsageError("no address to connect to")
        make_guards(token, certificate_pem)
        race = _Race(token, certificate_pem, limits)
        return cls(await race.run(list(dict.fromkeys(addresses)), timeout_s))

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""
        return self._link.ended

    def fileno(self) -> int:
        """Return the descriptor of the socket, -1 when the connection has ended."""
        transport = self._link.transport
        sock = None if transport is None else transport.get_extra_info("socket")
        return -1 if sock is None else int(sock.fileno())

    def put(self, key: bytes, value: Value) -> None:
        """Queued, never blocks; `drain` waits where that matters. Raises ConnectionLost."""
        self._link.write(wire.encode_put(key, value))

    async def get(self, key: bytes) -> Value:
        """The oldest value of `key`, removed, once there is one. One get or view at a time: a second raises
        UsageError. When it is cancelled, a value that had already been sent is kept for the next get of the same key.
        Raises ConnectionLost."""
        return await self._read(GET, key)

    async def view(self, key: bytes) -> Value:
        """The newest value of `key`, which stays, once there is one. As for get."""
        return await self._read(VIEW, key)

    async def take(self, key: bytes) -> Value | None:
        """The oldest value, removed, or None, at once. Not known to servers of old. Raises UsageError while a get or
        view waits (its answer would be taken for this one's), and ConnectionLost."""
        if self._reading or (self._abandoned is not None and not self._abandoned[1].done()):
            raise UsageError("a get or view waits on this connection: another one is needed for a take")
        return await asyncio.shield(self._link.ask(TAKE, wire.encode_keyed(TAKE, key)))

    def monitor(self, key: bytes, watched: bytes, events: str) -> None:
        """Have EVENTS (letters of gpvw) on `watched` (empty: every key) put under `key`. Raises ConnectionLost."""
        self._link.write(wire.encode_monitor(key, watched, events))

    async def drain(self) -> None:
        """Wait until the backlog of puts is small. Returns also when the connection ends."""
        await self._link.drain()

    async def close(self) -> None:
        """Send what was put, say goodbye, wait (some seconds at most) until the server has taken it."""
        link = self._link
        if link.ended or link.transport is None:
            return
        try:
            link.write(CLOSE)
            await asyncio.wait_for(asyncio.shield(link.lost), _CLOSE_S)
        except (ConnectionLost, TimeoutError):
            link.transport.abort()
            await asyncio.shield(link.lost)

    def abort(self) -> None:
        """End at once; what was put may be lost."""
        if self._link.transport is not None:
            self._link.transport.abort()

    async def _read(self, op: bytes, key: bytes) -> Value:
        if self._reading:
            raise UsageError("a get or view waits already on this connection")
        kept = self._kept.get((op, key))
        if kept:
            value = kept.popleft()
            if not kept:
                del self._kept[op, key]
            return value
        if self._abandoned is None:
            waiting = self._link.ask(op, wire.encode_keyed(op, key))
        elif self._abandoned[0] == (op, key):
            waiting = self._abandoned[1]
        else:
            raise UsageError(
                f"{self._abandoned[0]} was cancelled and still waits: a plain server cannot be told"
            )
        self._reading, self._abandoned = True, None
        try:
            reply = await asyncio.shield(waiting)
        except asyncio.CancelledError:
            self._abandon(op, key, waiting)
            raise
        finally:
            self._reading = False
        if reply is None:
            raise ConnectionLost("the server forgot a request that was not cancelled")
        return reply

    def _abandon(self, op: bytes, key: bytes, waiting: "asyncio.Future[Value | None]") -> None:
        """The caller was cancelled. A get whose value is on its way must not lose it."""
        if self._link.ended:
            _retrieve(waiting)
        elif self._link.guarded and not waiting.done():
            waiting.add_done_callback(lambda done: self._keep(op, key, done))
            self._link.ask(CANCEL, CANCEL).add_done_callback(_retrieve)
        elif self._link.guarded:
            self._keep(op, key, waiting)
        else:
            # A server of old knows no cancel. Whoever asks for the same again takes this over.
            self._abandoned = ((op, key), waiting)
            waiting.add_done_callback(_retrieve)

    def _keep(self, op: bytes, key: bytes, done: "asyncio.Future[Value | None]") -> None:
        if done.cancelled() or done.exception() is not None:
            return
        value = done.result()
        if value is not None and op == GET:
            self._kept.setdefault((op, key), deque()).append(value)


def _retrieve(done: "asyncio.Future[Value | None]") -> None:
    """Nobody waits for this any more: its failure is not news."""
    if done.done() and not done.cancelled():
        done.exception()


class _Race:
    """Several candidates, staggered; the first that proves itself wins and the others are dropped."""

    def __init__(self, token: bytes | None, certificate_pem: bytes | None, limits: Limits):
        self._guards = (token, certificate_pem, limits)
        self._failed: dict[Address, str] = {}
        self._tasks: dict[asyncio.Task[Link], Address] = {}

    async def run(self, addresses: list[Address], timeout_s: float) -> Link:
        """Raises ConnectionFailed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        waiting = list(addresses)
        try:
            while waiting or self._tasks:
                if waiting:
                    address = waiting.pop(0)
                    self._tasks[loop.create_task(self._try(address))] = address
                wait_s = end - loop.time()
                if wait_s <= 0:
                    break
                step_s = min(wait_s, _NEXT_CANDIDATE_S) if waiting else wait_s
                winner = await self._step(step_s)
                if winner is not None:
                    return winner
        finally:
            await self._drop()
        for address in addresses:
            self._failed.setdefault(address, f"no answer within {timeout_s:g} s")
        tried = "; ".join(f"{format_address(address)}: {self._failed[address]}" for address in addresses)
        raise ConnectionFailed(f"no server reached: {tried}")

    async def _step(self, wait_s: float) -> Link | None:
        done, _ = await asyncio.wait(self._tasks, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        winner = None
        for task in done:
            address = self._tasks.pop(task)
            error = task.exception()
            if error is None and winner is None:
                winner = task.result()
            elif error is None:
                _abort(task.result())
            elif isinstance(error, OSError | KvsError):
                self._failed[address] = reason(error)
            else:
                raise error
        return winner

    async def _try(self, address: Address) -> Link:
        loop = asyncio.get_running_loop()
        link = Link(*self._guards)
        try:
            await loop.create_connection(lambda: link, *address)
            await link.proven
        except BaseException:
            link.proven.cancel()
            _abort(link)
            raise
        return link

    async def _drop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in list(self._tasks):
            try:
                _abort(await task)
            except (OSError, KvsError, asyncio.CancelledError):
                pass
        self._tasks.clear()


def _abort(link: Link) -> None:
    if link.transport is not None:
        link.transport.abort()
