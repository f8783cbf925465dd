"""The KVS of a run: a server inside the driver, or one that runs already. The driver uses both alike."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Protocol

from kvsstcp.aclient import AsyncClient
from kvsstcp.auth import Certificate
from kvsstcp.errors import KvsError
from kvsstcp.infofile import Info
from kvsstcp.limits import Limits
from kvsstcp.server import Server
from kvsstcp.values import Value

CONNECT_S = 5.0  # a server that runs already answers at once, or is not there
PUBLISHED_MAX = 4  # snapshots under way to such a server; where it is that slow, viewers can miss some
LAST_WORDS_S = 1.0  # for the last of them


class Kvs(Protocol):
    """What the driver needs of a key-value store. Callbacks come on the loop's thread."""

    on_lost: Callable[[str], None]  # called once, with the reason, when the server is gone

    async def start(self) -> None: ...

    def put(self, key: bytes, value: Value) -> None: ...

    def subscribe(self, key: bytes, callback: Callable[[Value], None]) -> None: ...

    def drop(self, key: bytes) -> None:
        """Forgets what waits under a key that nobody reads any more, where the server can."""

    def publish(self, key: bytes, value: Value) -> None:
        """Keeps one newest value under the key, for viewers."""

    def show(self, key: bytes, value: Value) -> None:
        """Gives the value to all who wait for one of this key now, and keeps nothing."""

    def watch(self, key: bytes, callback: Callable[[str], None]) -> None:
        """Calls back with a reason when the connection that reads this key ends. A server that runs elsewhere cannot
        tell; whoever relies on this needs a slower way beside it."""

    def gather(self, seconds: float) -> None:
        """Lets what comes wait for so long, so that more of it is read at once, where the server can."""

    async def close(self) -> None: ...


class EmbeddedKvs:
    """A server in this process, used without a socket; everyone else comes over TCP."""

    def __init__(
        self,
        sock: socket.socket,
        token: bytes,
        certificate: Certificate,
        log: logging.Logger,
        plain: socket.socket | None,
        limits: Limits,
    ) -> None:
        self.on_lost: Callable[[str], None] = log.error  # never called: it lives and dies with the driver
        self._sock = sock
        self._plain = plain
        self._server = Server(token=token, certificate=certificate, limits=limits, logger=log)
        self._server.on_down = lambda: log.warning("a client asked the KVS to end: ignored")
        self.put = self._server.local.put
        self.subscribe = self._server.local.subscribe
        self.publish = self._server.local.replace
        self.watch = self._server.local.on_lost
        self.drop = self._server.local.drop
        self.gather = self._server.gather

    def show(self, key: bytes, value: Value) -> None:
        self._server.local.put(key, value)
        self._server.local.drop(key)

    async def start(self) -> None:
        await self._server.serve(self._sock)
        if self._plain is not None:
            await self._server.serve(self._plain, plain=True)

    async def close(self) -> None:
        await self._server.close()


class ExternalKvs:
    """A server that runs already."""

    def __init__(self, info: Info, log: logging.Logger) -> None:
        self._info = info
        self.on_lost: Callable[[str], None] = log.error
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._publishing: asyncio.Task[None] | None = None
        self._published: asyncio.Queue[tuple[bytes, Value, bool]] = asyncio.Queue(maxsize=PUBLISHED_MAX)

    async def start(self) -> None:
        """Connects. Raises ConnectionFailed that names every address that was tried."""
        self._client = await self._connect()
        self._publishing = self._run(self._publish_all())

    def put(self, key: bytes, value: Value) -> None:
        try:
            self._client.put(key, value)
        except KvsError as error:
            self._gone(error)

    def subscribe(self, key: bytes, callback: Callable[[Value], None]) -> None:
        self._run(self._deliver(key, callback))

    def drop(self, key: bytes) -> None:
        """A few messages of a broken connection stay with the server until it ends: old ones cannot drop."""

    def publish(self, key: bytes, value: Value) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._published.put_nowait((key, value, True))

    def show(self, key: bytes, value: Value) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._published.put_nowait((key, value, False))

    def watch(self, key: bytes, callback: Callable[[str], None]) -> None:
        pass

    def gather(self, seconds: float) -> None:
        pass

    async def close(self) -> None:
        if self._publishing is not None and not self._publishing.done():
            with contextlib.suppress(TimeoutError):  # viewers see the last figures, if the server is well
                await asyncio.wait_for(self._published.join(), LAST_WORDS_S)
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.close()

    async def _connect(self) -> AsyncClient:
        info = self._info
        return await AsyncClient.connect(
            info.addresses, token=info.token, certificate_pem=info.certificate_pem, timeout_s=CONNECT_S
        )

    def _run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _deliver(self, key: bytes, callback: Callable[[Value], None]) -> None:
        """A waiting get holds its connection, so every key has one of its own."""
        try:
            client = await self._connect()
            try:
                while True:
                    callback(await client.get(key))
            finally:
                client.abort()
        except (KvsError, OSError) as error:
            self._gone(error)

    async def _publish_all(self) -> None:
        """On a connection of its own: a server of old ends it at the first operation that it does not know."""
        try:
            client = await self._connect()
            try:
                while True:
                    key, value, stays = await self._published.get()
                    if stays:
                        await client.take(key)
                    client.put(key, value)
                    if not stays:
                        await client.take(key)
                    self._published.task_done()
            finally:
                client.abort()
        except (KvsError, OSError):
            return

    def _gone(self, error: Exception) -> None:
        if not self._closing:
            self._closing = True
            self.on_lost(str(error))
