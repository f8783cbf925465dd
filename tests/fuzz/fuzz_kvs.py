"""Coverage-guided fuzzing (atheris) of all that reads what strangers send: requests, replies, handshake, info files.

    python tests/fuzz/fuzz_kvs.py tests/fuzz/corpus_kvs -max_total_time=60

The first byte of an input chooses the reader, the second how the rest is cut into pieces. A finding is any exception
that is not a ProtocolError or UsageError, and any bound that does not hold.
"""

import logging
import sys
from collections import deque
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kvsstcp import auth, wire
from kvsstcp.channel import READ, WRITE
from kvsstcp.connection import Connection
from kvsstcp.errors import ProtocolError, UsageError
from kvsstcp.infofile import Info, format_info, parse_info
from kvsstcp.limits import Limits
from kvsstcp.server import Server

LIMITS = Limits(
    key_bytes=64, value_bytes=256, input_total_bytes=300, batch_bytes=200, monitors=4, output_bytes=500
)
# Replies are gathered up to batch_bytes, and one more; a dump may be such a one.
MOST_AT_ONCE = 200 + 20_000
LONGEST_PIECE = 4_096
TOKEN = bytes(32)
SILENT = logging.Logger("fuzz", level=logging.CRITICAL + 1)


class FakeSocket:
    """A kernel's socket: tells of what came when it is as much as was asked for, and takes what it has room for."""

    def __init__(self, room: int) -> None:
        self.pending = bytearray()
        self.least = 1
        self.room = room
        self.full = False
        self.closed = False
        self.taken = 0
        self.behind: deque[bytes] = deque()
        """What comes while it is looked for: a piece after each look in vain."""

    def fileno(self) -> int:
        return 3

    def setsockopt(self, level: int, option: int, value: int) -> None:
        assert not self.closed
        self.least = value

    def recv_into(self, buffer: memoryview) -> int:
        assert not self.closed, "read after the end"
        if not self.pending:
            if self.behind:
                self.pending += self.behind.popleft()
            raise BlockingIOError
        count = min(len(buffer), len(self.pending))
        buffer[:count] = self.pending[:count]
        del self.pending[:count]
        return count

    def send(self, data: bytes) -> int:
        assert not self.closed, "written to after the end"
        self.full = not self.full
        if self.room and self.full:
            raise BlockingIOError
        count = min(len(data), self.room or len(data))
        self.taken += count
        return count

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True


class FakePoller:
    """Knows what one connection waits for."""

    def __init__(self) -> None:
        self.mask = 0
        self.ends: list[Callable[[], None]] = []
        self.looks = False
        self.crowded = False

    def watch(self, who: object, descriptor: int, before: int, mask: int) -> None:
        assert before == self.mask and descriptor == 3
        self.mask = mask

    def expecting(self, who: object) -> None:
        self.looks = True

    def bury(self, action: Callable[[], None]) -> None:
        self.ends.append(action)


class FakeConnection(Connection):
    """No event loop: nothing is done later, and no mistake of ours is forgiven."""

    fake: FakeSocket

    def _later(self, delay_s: float, action: object) -> None:
        pass

    def _waiting_bytes(self) -> int:
        return len(self.fake.pending)

    def failed(self, error: Exception) -> None:
        raise error


def pieces(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


def serve(data: bytes, step: int, guarded: bool) -> None:
    """A whole server connection whose socket may take little at a time, and may be waited for in bursts, asleep or awake:
    the store stays sound, and bounds hold."""
    server = Server(limits=LIMITS, logger=SILENT, alone=step % 3 == 0)
    server.on_down = None
    sock, poller = FakeSocket(step % 4 * 40), FakePoller()
    handshake = auth.ServerHandshake(TOKEN) if guarded else None
    connection = FakeConnection(server, sock, ("192.0.2.1", 7), poller, handshake, None)  # type: ignore[arg-type]
    connection.fake = sock
    connection.start()
    coming = deque(pieces(data, step))
    if connection._rhythm is not None and step % 2 == 0:
        connection._rhythm._awake = True
        poller.crowded = step % 4 == 0
        sock.behind = coming
    while coming and not poller.ends:
        sock.pending += coming.popleft()
        turn(connection, sock, poller)
        server.store.check_invariants()
        assert server.held_bytes <= LIMITS.input_total_bytes + LONGEST_PIECE
        assert not guarded or server.store.counts.puts == 0
    settle(connection, sock, poller)
    if not poller.ends:
        connection.abort()
    for end in poller.ends:
        end()
    assert len(poller.ends) == 1 and sock.closed and poller.mask == 0
    server.store.check_invariants()
    assert server.held_bytes == 0 and not list(server.store.waiters()) and server.connection_count == 0


def turn(connection: FakeConnection, sock: FakeSocket, poller: FakePoller) -> None:
    """What the kernel would tell of, once."""
    events = poller.mask & WRITE
    if poller.mask & READ and len(sock.pending) >= sock.least:
        events |= READ
    if events:
        connection.ready(events)
    assert len(connection._kept) <= LIMITS.output_bytes + MOST_AT_ONCE, (
        "more is kept for a slow reader than allowed"
    )


def settle(connection: FakeConnection, sock: FakeSocket, poller: FakePoller) -> None:
    """Let it read and write all that it can: nothing that came may stay in the kernel."""
    for _ in range(100_000):
        waits = poller.mask & READ and sock.pending
        if poller.ends or not (waits or poller.mask & WRITE):
            return
        turn(connection, sock, poller)
        if poller.looks:
            poller.looks = connection.keep_expecting()
    raise AssertionError("it never comes to rest")


def read_replies(data: bytes, step: int) -> None:
    decoder = wire.ReplyDecoder(LIMITS)
    for op in (wire.GET, wire.CANCEL, wire.TAKE, wire.JSON_DUMP, wire.VIEW, wire.GET):
        decoder.expect(op)
    count = 0
    for piece in pieces(data, step):
        for reply in decoder.feed(piece):
            assert reply is None or len(reply.data) <= LIMITS.value_bytes
            count += 1
    assert count + decoder.due <= 6


def prove(data: bytes, step: int) -> None:
    handshake = auth.ClientHandshake(TOKEN)
    for piece in pieces(data, step):
        handshake.feed(piece)
    assert not handshake.done, "a server was believed that does not know the token"


def read_info_text(data: bytes, step: int) -> None:
    info = parse_info(data.decode("utf-8", "replace"))
    if info.certificate_pem is None or info.certificate_pem.isascii():
        again = parse_info(format_info(info))
        assert isinstance(again, Info) and again.addresses == info.addresses and again.token == info.token


def one_input(data: bytes) -> None:
    if len(data) < 2:
        return
    which, step, rest = data[0] % 5, data[1] % 64 + 1, data[2:4096]
    try:
        if which == 0:
            serve(rest, step, guarded=False)
        elif which == 1:
            serve(rest, step, guarded=True)
        elif which == 2:
            read_replies(rest, step)
        elif which == 3:
            prove(rest, step)
        else:
            read_info_text(rest, step)
    except (ProtocolError, UsageError):
        pass


def main() -> None:
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
