"""One connection of the server: TLS and proof where they are asked for, then requests in and replies out.

The hot path is `received`, `_feed`, `_perform`, `flush`. What concerns all connections together (limits, failed
proofs, who is still to be written to) is the server's.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kvsstcp import wire
from kvsstcp.channel import Channel, Poller
from kvsstcp.errors import NotProven, ProtocolError, TooMuchInput
from kvsstcp.infofile import format_address
from kvsstcp.rhythm import Rhythm
from kvsstcp.values import Value
from kvsstcp.wire import CANCEL, CLOSE, DOWN, DUMP, GET, JSON_DUMP, MKEY, PUT, TAKE, VIEW, Request

if TYPE_CHECKING:
    from kvsstcp.auth import ServerHandshake
    from kvsstcp.server import Server
    from kvsstcp.tls import TlsPipe


_QUESTIONS = frozenset((GET, VIEW, TAKE))


class Connection(Channel):
    """See the module. Without a handshake the peer counts as proven at once: that is plain service."""

    __slots__ = (
        "_backlog",
        "_decoder",
        "_ending",
        "_handshake",
        "_held_bytes",
        "_out",
        "_out_bytes",
        "_rhythm",
        "_server",
        "_store",
        "_timer",
        "_tls",
        "_why",
        "address",
        "last_key",
        "peer",
    )

    def __init__(
        self,
        server: "Server",
        sock: socket.socket,
        where: Any,
        poller: Poller,
        handshake: "ServerHandshake | None",
        tls: "TlsPipe | None",
    ):
        super().__init__(sock, poller, server.receive_buffer, server.limits.output_bytes)
        self._server = server
        self._store = server.store
        self._handshake = handshake
        self._tls = tls
        # Where there is other work, nothing may be kept waiting for the sake of a guess.
        self._rhythm = Rhythm() if server.alone else None
        self._decoder = wire.RequestDecoder(server.limits)
        self._backlog: list[Request] = []
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._held_bytes = 0
        self._ending = False
        self._timer: asyncio.TimerHandle | None = None
        self._why = "the peer closed the connection"
        self.last_key: bytes | None = None
        """What the last get or view asked for."""
        self.peer = self.address = "?"
        if isinstance(where, tuple):
            self.address, self.peer = where[0], format_address(where[:2])

    @property
    def proven(self) -> bool:
        return self._handshake is None

    # What the channel calls.

    def received(self, data: memoryview) -> None:
        if self._ending:
            return
        try:
            tls = self._tls
            if tls is None:
                plain = bytes(data)
            else:
                plain = tls.receive(data)
                if tls.out.pending:
                    self.write(tls.outgoing())
            if self._handshake is not None:
                plain = self._prove(plain)
            decoder = self._decoder
            requests = decoder.feed(plain)
            if decoder.unfinished or self._held_bytes:
                self._account(decoder.held_bytes)
            if requests:
                self._perform(requests)
            elif decoder.error is not None:
                raise decoder.error
            if self._rhythm is not None:
                asked = bool(requests) and requests[-1][0] in _QUESTIONS and not decoder.unfinished
                least = self._rhythm.heard(len(data), asked, self._poller.crowded)
                self.awaited = self._rhythm.awaited
                if least != self.least:
                    self.expect(least)
        except ProtocolError as error:
            self.cut_off(error)
        if self._tls is not None and self._tls.ended:
            self.finish()

    def ended(self) -> None:
        if not self.proven and not self._ending:
            self.cut_off(NotProven("the peer left before its proof of the token"))

    def resumed(self) -> None:
        if self._ending:
            return
        backlog, self._backlog = self._backlog, []
        try:
            if backlog:
                self._perform(backlog)
        except ProtocolError as error:
            self.cut_off(error)
        if not self.paused and not self._ending:
            self.read(True)

    def missed(self) -> None:
        if self._rhythm is not None:
            self._rhythm.missed()

    def failed(self, error: Exception) -> None:
        self._why = f"an error of the server: {error}"
        # `protocol` says that only this connection is concerned
        context = {"message": f"the connection of {self.peer} failed", "exception": error, "protocol": self}
        asyncio.get_running_loop().call_exception_handler(context)

    def lost(self, error: OSError | None) -> None:
        self._ending = True
        self._stop_timer()
        self._store.cancel(self)
        self._backlog.clear()
        self._out.clear()
        self._server.held_bytes -= self._held_bytes
        self._server.forget(self, self._why if error is None else error.strerror or str(error))

    # What the server calls.

    def start(self) -> None:
        """Let it in, if the server will have it, and listen to it."""
        if not self.proven:
            self._later(self._server.limits.handshake_s, self._too_slow)
        self._server.admit(self)
        self.read(True)

    def deliver(self, value: Value) -> None:
        """A value that this connection waited for. It is written with the next `flush`."""
        if not self._out:
            self._server.unflushed.append(self)
        self._answer(value)

    def flush(self) -> None:
        """Write what is gathered. May set `paused`."""
        out = self._out
        if not out or self._ending:
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        self._out_bytes = 0
        if self._tls is not None:
            data = self._tls.seal(data)
        self.write(data)

    def cut_off(self, error: ProtocolError) -> None:
        """The peer broke a rule: say so in the log, let replies that it earned before go out, end."""
        if self._ending:
            return
        self._why = f"cut off: {error}"
        delay_s = self._server.report_cut_off(self, error)
        if not delay_s:
            self.finish()
            return
        # Left hanging without an answer: trying again at once should not be worth anybody's while.
        self._ending = True
        self.read(False)
        if self._tls is not None:
            self.write(self._tls.outgoing())
        self._later(delay_s, self.abort)

    def finish(self) -> None:
        """End in order: what was written still goes out, for a bounded time."""
        if self._ending:
            return
        self.flush()
        self._ending = True
        if self._tls is not None:
            self._tls.close()
            self.write(self._tls.outgoing())
        self.close()
        self._later(self._server.limits.close_flush_s, self.abort)

    def abort(self, error: OSError | None = None) -> None:
        """End at once."""
        self._ending = True
        super().abort(error)

    # The way in.

    def _prove(self, data: bytes) -> bytes:
        """Feed the handshake. Returns what the peer sent behind its proof."""
        handshake = self._handshake
        assert handshake is not None
        if not data:
            return b""
        answer = handshake.feed(data)
        if handshake.done:
            self._handshake = None
            self._stop_timer()
            self._server.proven(self)
        if answer:
            self._out.append(answer)
            self.flush()
        return handshake.rest

    def _perform(self, requests: list[Request]) -> None:
        """Carry requests out, in order, until one ends the connection or the peer has too much to read."""
        store, server = self._store, self._server
        batch_bytes = server.limits.batch_bytes
        for index, (op, key, value) in enumerate(requests):
            if op == PUT:
                store.put(key, value)
            elif op == GET:
                self.last_key = key
                found = store.get(self, key)
                if found is not None:
                    coding, data = found
                    self._out.append(b"%b%10d%b" % (coding, len(data), data))
                    self._out_bytes += len(data) + 14
            else:
                self._perform_rare(op, key, value)
                if self._ending:
                    break
            if store.due:
                server.carry_out()
            if self._out_bytes > batch_bytes:
                self.flush()
                if self.paused:
                    self._backlog = requests[index + 1 :]
                    break
        if self._out:
            self.flush()
        if server.unflushed:
            server.flush()
        if self.paused and not self._ending:
            self.read(False)
        elif self._decoder.error is not None:
            raise self._decoder.error

    def _perform_rare(self, op: bytes, key: bytes, value: Value) -> None:
        if op == VIEW:
            self.last_key = key
            found = self._store.view(self, key)
            if found is not None:
                self._answer(found)
        elif op == TAKE:
            found = self._store.take(key)
            if found is None:
                self._say(wire.ABSENT)
            else:
                self._answer(found)
        elif op == CANCEL:
            self._store.cancel(self)
            self._say(wire.ABSENT)
        elif op == MKEY:
            self._store.monitor(key, value.data)
        elif op in (DUMP, JSON_DUMP):
            self._say(wire.encode_frame(self._server.dump(as_json=op == JSON_DUMP)))
        elif op == CLOSE:
            self.finish()
        elif op == DOWN:
            self._server.down(self)

    # The way out.

    def _answer(self, value: Value) -> None:
        coding, data = value
        self._out.append(b"%b%10d%b" % (coding, len(data), data))
        self._out_bytes += len(data) + 14

    def _say(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)

    # Bounds.

    def _account(self, held: int) -> None:
        """Keep the server's sum of unfinished input. Raises TooMuchInput when this piece was too much."""
        server = self._server
        server.held_bytes += held - self._held_bytes
        grew = held > self._held_bytes
        self._held_bytes = held
        if grew and server.held_bytes > server.limits.input_total_bytes:
            raise TooMuchInput(f"all unfinished requests together hold {server.held_bytes} bytes")

    def _too_slow(self) -> None:
        limit_s = self._server.limits.handshake_s
        self.cut_off(NotProven(f"no proof of the token within {limit_s:g} s"))

    def _later(self, delay_s: float, action: Callable[[], None]) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(delay_s, action)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
