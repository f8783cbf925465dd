"""How a channel looks for the rest of what it awaits, with a socket that does as it is told."""

from typing import Any

import pytest

from kvsstcp.channel import READ, Channel

NOTHING = BlockingIOError()


class Socket:
    """What each call of `recv_into` finds: bytes, or an error. Behind that there is nothing."""

    def __init__(self, *found: bytes | OSError):
        self.found = list(found)
        self.calls = 0

    def fileno(self) -> int:
        return 3

    def send(self, data: bytes) -> int:
        return len(data)

    def recv_into(self, buffer: memoryview) -> int:
        self.calls += 1
        first = self.found.pop(0) if self.found else NOTHING
        if isinstance(first, OSError):
            raise first
        buffer[: len(first)] = first
        return len(first)

    def close(self) -> None:
        pass


class Poller:
    crowded = False

    def watch(self, *_: Any) -> None:
        pass

    def bury(self, action: Any) -> None:
        action()


class Heard(Channel):
    """Notes what it is told."""

    def __init__(self, sock: Socket, awaited: int):
        self.poller = Poller()
        super().__init__(sock, self.poller, memoryview(bytearray(100)), 100)  # type: ignore[arg-type]
        self.awaited = awaited
        self.told: list[Any] = []
        self.read(True)

    def received(self, data: memoryview) -> None:
        self.told.append(bytes(data))

    def ended(self) -> None:
        self.told.append("end")

    def lost(self, error: OSError | None) -> None:
        self.told.append(error)

    def failed(self, error: Exception) -> None:
        raise error


def test_what_comes_in_pieces_is_read_as_one() -> None:
    sock = Socket(b"ab", NOTHING, b"c", NOTHING, NOTHING, b"defgh", b"not yet asked for")
    channel = Heard(sock, 8)
    channel.ready(READ)
    assert channel.told == [b"abcdefgh"] and sock.calls == 6


@pytest.mark.parametrize("awaited", [0, 2, 5])
def test_what_is_there_is_not_kept_for_more(awaited: int) -> None:
    sock = Socket(b"abcde", b"f")
    channel = Heard(sock, awaited)
    channel.ready(READ)
    assert channel.told == [b"abcde"] and sock.calls == 1


def test_more_than_was_awaited_is_taken_too() -> None:
    channel = Heard(Socket(b"ab", b"cdef"), 3)
    channel.ready(READ)
    assert channel.told == [b"abcdef"]


def test_where_the_rest_does_not_come_the_beginning_is_handed_on() -> None:
    sock = Socket(b"ab")
    channel = Heard(sock, 8)
    channel.ready(READ)
    assert channel.told == [b"ab"] and 10 < sock.calls < 100


def test_while_others_have_something_nobody_is_waited_for() -> None:
    sock = Socket(b"ab", b"cdefgh")
    channel = Heard(sock, 8)
    channel.poller.crowded = True
    channel.ready(READ)
    assert channel.told == [b"ab"] and sock.calls == 1


@pytest.mark.parametrize("end", [b"", ConnectionResetError(104, "reset")])
def test_an_end_behind_the_beginning_is_told_after_it(end: Any) -> None:
    sock = Socket(b"ab", NOTHING, end, end)
    channel = Heard(sock, 8)
    channel.ready(READ)
    assert channel.told == [b"ab"] and sock.calls == 3
    channel.ready(READ)
    assert channel.told == ([b"ab", "end", None] if end == b"" else [b"ab", end])


def test_an_end_is_told_at_once_whatever_was_awaited() -> None:
    sock = Socket(b"")
    channel = Heard(sock, 8)
    channel.ready(READ)
    assert channel.told == ["end", None] and sock.calls == 1
