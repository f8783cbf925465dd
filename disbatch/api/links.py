"""The store through which a program and disBatch talk: served by the program itself, or at a server elsewhere.

Everything but the constructors is called in the thread of the event loop.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Protocol

from disbatch.core.snapshot import STATUS_KEY
from kvsstcp.aclient import AsyncClient
from kvsstcp.auth import make_certificate, make_token
from kvsstcp.errors import KvsError
from kvsstcp.infofile import Info
from kvsstcp.local import Subscription
from kvsstcp.server import Server
from kvsstcp.values import ASTR, Value

CONNECT_S = 10.0  # a server that is there answers at once
_WATCH_KEY = b"DisBatch status watched by this program"

log = logging.getLogger("disbatch.api")
log.addHandler(logging.NullHandler())  # a library says nothing on its own


class Link(Protocol):
    """What a session needs of the store."""

    info: Info

    def put(self, key: bytes, data: bytes) -> None: ...

    def listen(self, result_key: bytes, came: Callable[[bytes], None]) -> None:
        """Takes every record (JSON) under this key, as tasks finish."""

    async def close(self) -> None: ...


class ServingLink:
    """A server in this process, on a socket that listens already: secure, and used here without a connection."""

    def __init__(self, sock: socket.socket) -> None:
        certificate, token = make_certificate(), make_token()
        host, port = sock.getsockname()[:2]
        self.info = Info(((str(host), int(port)),), token, "", certificate.certificate_pem)
        self._sock = sock
        self._secrets = (certificate, token)

    async def open(self) -> None:
        certificate, token = self._secrets
        self._server = Server(token=token, certificate=certificate, logger=log)
        self._server.on_down = lambda: log.warning("a client asked the server to end: ignored")
        await self._server.serve(self._sock)

    def put(self, key: bytes, data: bytes) -> None:
        self._server.local.put(key, Value(ASTR, data))

    def take(self, key: bytes) -> Value | None:
        """The oldest value, removed, or None; also after the end."""
        return self._server.store.take(key)

    def listen(self, result_key: bytes, came: Callable[[bytes], None]) -> None:
        def finished(task_id: Value) -> None:
            # the record is put before the id, so it is there
            record = self._server.local.take(result_key + b" " + task_id.data)
            if record is not None:
                came(record.data)

        self._server.local.subscribe(result_key + b" done tasks", finished)

    def watch_status(self, came: Callable[[bytes], None]) -> None:
        """Shows every snapshot of the run (JSON) that is published, and leaves it there for others."""
        store, reader = self._server.store, Subscription(self._server, STATUS_KEY, lambda value: None)

        def changed(event: Value) -> None:
            value = store.view(reader, STATUS_KEY)
            store.cancel(reader)
            if value is not None:
                came(value.data)

        store.monitor(_WATCH_KEY, STATUS_KEY + b":p")
        self._server.local.subscribe(_WATCH_KEY, changed)

    async def close(self) -> None:
        await self._server.close()


class ClientLink:
    """A server that runs elsewhere. `lost` is called once, with the reason, when it is gone."""

    def __init__(self, info: Info, lost: Callable[[str], None]) -> None:
        self.info = info
        self._lost = lost
        self._work: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Raises ConnectionFailed."""
        self._client = await self._connect()
        self._reader = await self._connect()

    def put(self, key: bytes, data: bytes) -> None:
        try:
            self._client.put(key, Value(ASTR, data))
        except KvsError as error:
            self._lost(str(error))

    def listen(self, result_key: bytes, came: Callable[[bytes], None]) -> None:
        self._work = asyncio.get_running_loop().create_task(self._read(result_key, came))

    async def close(self) -> None:
        """Returns when the server has all that was put."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        self._reader.abort()
        await self._client.close()

    async def _read(self, result_key: bytes, came: Callable[[bytes], None]) -> None:
        try:
            while True:
                task_id = await self._reader.get(result_key + b" done tasks")
                record = await self._reader.get(result_key + b" " + task_id.data)
                came(record.data)
        except (KvsError, OSError) as error:
            self._lost(str(error))

    async def _connect(self) -> AsyncClient:
        info = self.info
        return await AsyncClient.connect(
            info.addresses, token=info.token, certificate_pem=info.certificate_pem, timeout_s=CONNECT_S
        )
