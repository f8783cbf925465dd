"""The store through which a program and disBatch talk: served by the program itself, or at a server elsewhere.

Everything but the constructors is called in the thread of the event loop.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Coroutine
from typing import Protocol

from disbatch.api.endwatch import EndWatch, RunEnded, read_end
from disbatch.api.program import Ended
from disbatch.core.snapshot import STATUS_KEY
from disbatch.runtime.descriptors import BASE, current_limit
from disbatch.runtime.facts import RUN_KEY, RunFacts
from disbatch.runtime.listening import Listening
from kvsstcp.aclient import AsyncClient
from kvsstcp.auth import make_certificate, make_token
from kvsstcp.errors import KvsError
from kvsstcp.infofile import Info
from kvsstcp.limits import limits_for
from kvsstcp.local import Subscription
from kvsstcp.server import Server
from kvsstcp.values import ASTR, Value

CONNECT_S = 10.0  # a server that is there answers at once
NO_CONNECTION = "the connection to disBatch is gone"
_WATCH_KEY = b"DisBatch status watched by this program"

log = logging.getLogger("disbatch.api")
log.addHandler(logging.NullHandler())  # of strangers who knock at the port the program needs to hear nothing


class Link(Protocol):
    """What a session needs of the store."""

    info: Info

    def put(self, key: bytes, data: bytes) -> None: ...

    def listen(self, result_key: bytes, came: Callable[[bytes], None]) -> None:
        """Takes every record (JSON) under this key, as tasks finish."""

    def descriptors(self) -> list[int]:
        """What a forked child has no use for."""

    async def close(self) -> None: ...


class ServingLink:
    """A server in this process, on a socket that listens already: secure, and used here without a connection.

    `info` is for this process, `advertised` for everybody else.
    """

    def __init__(self, listening: Listening) -> None:
        certificate, token = make_certificate(), make_token()
        self.info = Info(listening.near, token, "", certificate.certificate_pem)
        self.advertised = self.info._replace(addresses=listening.addresses)
        self._sock = listening.sock
        self._secrets = (certificate, token)
        self._server: Server | None = None

    async def open(self) -> None:
        certificate, token = self._secrets
        # what the program has open stays open: connections take the rest
        limits = limits_for(current_limit(), BASE + len(os.listdir("/proc/self/fd")))
        self._server = Server(token=token, certificate=certificate, limits=limits, logger=log)
        self._server.on_down = lambda: log.warning("a client asked the server to end: ignored")
        await self._server.serve(self._sock)

    @property
    def server(self) -> Server:
        assert self._server is not None
        return self._server

    def descriptors(self) -> list[int]:
        return self.server.descriptors()

    def put(self, key: bytes, data: bytes) -> None:
        self.server.local.put(key, Value(ASTR, data))

    def take(self, key: bytes) -> Value | None:
        """The oldest value, removed, or None; also after the end."""
        return self.server.store.take(key)

    def listen(self, result_key: bytes, came: Callable[[bytes], None]) -> None:
        def finished(task_id: Value) -> None:
            # the record is put before the id, so it is there
            record = self.server.local.take(result_key + b" " + task_id.data)
            if record is not None:
                came(record.data)

        self.server.local.subscribe(result_key + b" done tasks", finished)

    def watch_end(self, result_key: bytes, came: Callable[[RunEnded], None]) -> None:
        """Hears how the run has ended, if disBatch gets to tell it."""
        self.server.local.subscribe(result_key, lambda value: came(read_end(value.data)))

    def watch_status(self, came: Callable[[bytes], None]) -> None:
        """Shows every snapshot of the run (JSON) that is published, and leaves it there for others."""
        store, reader = self.server.store, Subscription(self.server, STATUS_KEY, lambda value: None)

        def changed(event: Value) -> None:
            value = store.view(reader, STATUS_KEY)
            store.cancel(reader)
            if value is not None:
                came(value.data)

        store.monitor(_WATCH_KEY, STATUS_KEY + b":p")
        self.server.local.subscribe(_WATCH_KEY, changed)

    def run_prefix(self) -> str | None:
        """How the names of the run's files begin; None before disBatch has told."""
        for found in self.server.store.summaries():
            if found.key.startswith(RUN_KEY):
                return RunFacts.from_json(found.newest.data).prefix
        return None

    async def close(self) -> None:
        if self._server is None:
            self._sock.close()
        else:
            await self._server.close()


class ClientLink:
    """A server that runs elsewhere. `lost` is called when it is gone, or the run at it has ended."""

    def __init__(self, info: Info, lost: Callable[[Ended], None]) -> None:
        self.info = info
        self._lost = lost
        self._work: list[asyncio.Task[None]] = []
        self._clients: list[AsyncClient] = []
        self._last_id = b"no more of session " + os.urandom(8).hex().encode()
        self._end = Ended(None, "")

    async def open(self, result_key: bytes) -> None:
        """To be called before the program signs in. Raises ConnectionFailed."""
        self._client, self._reader = await self._connect(), await self._connect()
        self._watch = EndWatch(await self._connect(), result_key)
        with contextlib.suppress(KvsError):  # a server of old: what it does not know is not watched
            await self._watch.prepare()

    def descriptors(self) -> list[int]:
        return [client.fileno() for client in self._clients]

    def put(self, key: bytes, data: bytes) -> None:
        try:
            self._client.put(key, Value(ASTR, data))
        except KvsError as error:
            self._gone(error)

    def listen(self, result_key: bytes, came: Callable[[bytes], None]) -> None:
        self._run(self._read(result_key, came))

    def watch_end(self, result_key: bytes) -> None:
        """Has `lost` called when disBatch says that it ends, or says nothing any more."""
        self._run(self._look_out(result_key))

    async def close(self) -> None:
        """Returns when the server has all that was put."""
        for work in self._work:
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        for client in self._clients:
            if client is not self._client:
                client.abort()
        await self._client.close()

    async def _read(self, result_key: bytes, came: Callable[[bytes], None]) -> None:
        try:
            while True:
                task_id = await self._reader.get(result_key + b" done tasks")
                if task_id.data == self._last_id:
                    self._lost(self._end)
                    return
                record = await self._reader.get(result_key + b" " + task_id.data)
                came(record.data)
        except (KvsError, OSError) as error:
            self._gone(error)

    async def _look_out(self, result_key: bytes) -> None:
        end = await self._watch.ended()
        if end is not None:
            self._end = end
            # records that came before are read before
            self.put(result_key + b" done tasks", self._last_id)

    def _gone(self, error: Exception) -> None:
        self._lost(Ended(None, str(error), NO_CONNECTION))

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._work.append(asyncio.get_running_loop().create_task(work))

    async def _connect(self) -> AsyncClient:
        info = self.info
        client = await AsyncClient.connect(
            info.addresses, token=info.token, certificate_pem=info.certificate_pem, timeout_s=CONNECT_S
        )
        self._clients.append(client)
        return client
