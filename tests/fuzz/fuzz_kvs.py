"""Coverage-guided fuzzing (atheris) of all that reads what strangers send: requests, replies, handshake, info files.

    python tests/fuzz/fuzz_kvs.py tests/fuzz/corpus_kvs -max_total_time=60

The first byte of an input chooses the reader, the second how the rest is cut into pieces. A finding is any exception
that is not a ProtocolError or UsageError, and any bound that does not hold.
"""

import logging
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from kvsstcp import auth, wire
from kvsstcp.connection import Connection
from kvsstcp.errors import ProtocolError, UsageError
from kvsstcp.infofile import Info, format_info, parse_info
from kvsstcp.limits import Limits
from kvsstcp.server import Server

LIMITS = Limits(key_bytes=64, value_bytes=256, input_total_bytes=300, batch_bytes=200, monitors=4)
TOKEN = bytes(32)
SILENT = logging.Logger("fuzz", level=logging.CRITICAL + 1)


class FakeTransport:
    """Counts what is written, and always has room."""

    def __init__(self) -> None:
        self.closed = False
        self.written = 0

    def get_extra_info(self, name: str) -> None:
        return None

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def write(self, data: bytes) -> None:
        assert not self.closed, "written to after the end"
        self.written += len(data)

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_reading(self) -> bool:
        return not self.closed

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class FakeConnection(Connection):
    """No event loop: nothing is done later."""

    def _later(self, delay_s: float, action: object) -> None:
        pass


def pieces(data: bytes, step: int) -> list[bytes]:
    return [data[at : at + step] for at in range(0, len(data), step)]


def serve(data: bytes, step: int, guarded: bool) -> None:
    """A whole server connection beside one that waits: the store stays sound, the other gets no answer of ours."""
    server = Server(limits=LIMITS, logger=SILENT)
    server.on_down = None
    handshake = auth.ServerHandshake(TOKEN) if guarded else None
    connection = FakeConnection(server, handshake, None)
    transport = FakeTransport()
    connection.connection_made(transport)  # type: ignore[arg-type]
    for piece in pieces(data, step):
        if transport.closed:
            break
        connection.get_buffer(-1)[: len(piece)] = piece
        connection.buffer_updated(len(piece))
        server.store.check_invariants()
        assert server.held_bytes <= LIMITS.input_total_bytes + step
        assert not guarded or server.store.counts.puts == 0
    connection.connection_lost(None)
    server.store.check_invariants()
    assert server.held_bytes == 0 and not list(server.store.waiters()) and server.connection_count == 0


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
