"""Sockets that the kernel has no room to watch, and connections that fail as soon as they are made."""

import asyncio
import errno
import select
import socket
from collections.abc import Callable
from typing import Any

import pytest

from kvsstcp.aclient import AsyncClient
from kvsstcp.channel import READ, Channel, Poller
from kvsstcp.errors import ConnectionFailed


class Heard(Channel):
    """Notes how it ends."""

    def __init__(self, sock: socket.socket, poller: Poller) -> None:
        super().__init__(sock, poller, memoryview(bytearray(100)), 100)
        self.errors: list[OSError | None] = []

    def lost(self, error: OSError | None) -> None:
        self.errors.append(error)


class Epoll:
    """A real one, whose calls of one name fail."""

    def __init__(self, failing: str, epoll: select.epoll) -> None:
        self._epoll = epoll
        self._failing = failing

    def __getattr__(self, name: str) -> Any:
        if name == self._failing:
            return self._fail
        return getattr(self._epoll, name)

    def _fail(self, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def with_epoll(failing: str, monkeypatch: pytest.MonkeyPatch, act: Callable[[Heard], None]) -> Heard:
    async def turn() -> Heard:
        poller = Poller(False)
        monkeypatch.setattr(poller, "_epoll", Epoll(failing, poller._epoll))
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        heard = Heard(ours, poller)
        act(heard)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        poller.close()
        theirs.close()
        ours.close()
        return heard

    return asyncio.run(turn())


@pytest.mark.parametrize("failing", ["register", "modify"])
def test_a_socket_that_cannot_be_watched_is_a_broken_connection(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(heard: Heard) -> None:
        heard.read(True)
        heard._watch(READ | select.EPOLLOUT)

    (error,) = with_epoll(failing, monkeypatch, act).errors
    assert error is not None and error.errno == errno.ENOSPC


def test_the_end_of_a_connection_is_told_where_it_cannot_be_taken_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def act(heard: Heard) -> None:
        heard.read(True)
        heard.abort()

    assert with_epoll("unregister", monkeypatch, act).errors == [None]


def test_a_connection_that_cannot_be_set_up_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop only logs what a protocol raises there: the caller would wait for a proof until its time is over."""

    def tune(*_: object) -> None:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    async def connect() -> None:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1")
        address = server.sockets[0].getsockname()
        async with server:
            with pytest.raises(ConnectionFailed, match="as soon as it was made: Cannot allocate memory"):
                await asyncio.wait_for(AsyncClient.connect([address], token=b"t" * 32, timeout_s=20), 10)

    monkeypatch.setattr("kvsstcp.link.tune", tune)
    asyncio.run(connect())
