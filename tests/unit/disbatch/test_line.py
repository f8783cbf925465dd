"""How often an engine asks for a driver that does not answer before it holds it as gone."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from typing import NoReturn

import pytest

from disbatch.core.errors import MachineError
from disbatch.runtime import line
from disbatch.runtime.line import DriverLine
from kvsstcp.errors import ConnectionFailed
from kvsstcp.infofile import Address


@pytest.fixture
def refusing() -> Iterator[Address]:
    """An address that is taken, and where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


@pytest.mark.parametrize("launcher_gone", [True, False])
def test_a_host_that_refuses_is_asked_once_more_only_where_the_launcher_lives(
    refusing: Address, launcher_gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def connect(*_args: object, **_more: object) -> NoReturn:
        asked.append(1)
        raise ConnectionFailed("nobody listens")

    monkeypatch.setattr(line.AsyncClient, "connect", connect)
    monkeypatch.setattr(line, "REFUSED_S", 0.1)
    engine = DriverLine((refusing,), None, None, 300.0, logging.getLogger("test"))
    engine._proven = refusing
    if launcher_gone:
        engine.launcher_gone()
    with pytest.raises(MachineError, match="its host refuses the connection"):
        asyncio.run(engine.connect())
    assert (len(asked) == 1) is launcher_gone


def test_a_first_connection_that_breaks_is_tried_again(
    refusing: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Client:
        peer_address = refusing

    answers: list[Client | None] = [None, None, Client()]

    async def connect(*_args: object, **_more: object) -> Client:
        answer = answers.pop(0)
        if answer is None:
            raise ConnectionFailed("the connection ended")
        return answer

    monkeypatch.setattr(line.AsyncClient, "connect", connect)
    engine = DriverLine((refusing,), None, None, 300.0, logging.getLogger("test"))
    asyncio.run(engine.connect())
    assert answers == []


def test_where_the_first_connection_fails_again_and_again_that_is_told(
    refusing: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(*_args: object, **_more: object) -> NoReturn:
        raise ConnectionFailed("nobody listens")

    monkeypatch.setattr(line.AsyncClient, "connect", connect)
    engine = DriverLine((refusing,), None, None, 300.0, logging.getLogger("test"))
    with pytest.raises(ConnectionFailed, match="nobody listens"):
        asyncio.run(engine.connect())
