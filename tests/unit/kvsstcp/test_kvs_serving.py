"""A whole server without a kernel: several clients whose bytes come in any pieces, against a model; and strangers."""

import logging
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from kvsstcp import wire
from kvsstcp.auth import ServerHandshake
from kvsstcp.channel import READ, WRITE
from kvsstcp.connection import Connection
from kvsstcp.limits import Limits
from kvsstcp.server import Server
from kvsstcp.values import Value

LIMITS = Limits(key_bytes=64, value_bytes=500, input_total_bytes=600, batch_bytes=100, output_bytes=200)
NAMES = {"g": b"get", "p": b"put", "v": b"view", "w": b"wait"}
SILENT = logging.Logger("serving", level=logging.CRITICAL + 1)


def text(data: bytes) -> Value:
    return Value(b"ASTR", data)


class Model:
    """What the answers have to be. `waits`: (reader, key, takes), the longest first; `out`: what each reader is sent."""

    def __init__(self) -> None:
        self.values, self.waits, self.watched, self.out = {}, [], {}, {}

    def put(self, key, data):
        self.tell("p", key)
        taken = False
        for wait in [each for each in self.waits if each[1] == key]:
            reader, _, takes = wait
            if not (takes and taken):
                self.waits.remove(wait)
                self.say(reader, wire.encode_value(text(data)))
                self.tell("g" if takes else "v", key)
                taken = taken or takes
        if not taken:
            self.values.setdefault(key, []).append(data)

    def read(self, reader, key, takes):
        self.gone(reader)
        if found := self.values.get(key):
            self.say(reader, wire.encode_value(text(found.pop(0) if takes else found[-1])))
            self.tell("g" if takes else "v", key)
        else:
            self.waits.append((reader, key, takes))
            self.tell("w", key)

    def take(self, reader, key):
        if self.values.get(key):
            self.say(reader, wire.encode_value(text(self.values[key].pop(0))))
            self.tell("g", key)
        else:
            self.say(reader, wire.ABSENT)

    def tell(self, event, key):
        if key not in {monitor for monitor, _ in self.watched}:
            for place in (key, b""):
                for (monitor, watched), events in list(self.watched.items()):
                    if watched == place and event in events:
                        self.put(monitor, repr((NAMES[event], key)).encode())

    def monitor(self, monitor, key, events):
        self.watched.pop((monitor, key), None)
        if events:
            self.watched[monitor, key] = events

    def gone(self, reader):
        self.waits = [each for each in self.waits if each[0] != reader]

    def say(self, reader, data):
        self.out[reader] = self.out.get(reader, b"") + data


class Kernel:
    """One connection's socket and poller. It takes no more than `room` bytes at a time, and each other time none."""

    def __init__(self, room: int) -> None:
        self.room, self.full, self.mask = room, False, 0
        self.coming, self.sent, self.ended = bytearray(), b"", False

    def fileno(self) -> int:
        return 3

    def recv_into(self, buffer: memoryview) -> int:
        if not self.coming:
            raise BlockingIOError
        count = min(len(buffer), len(self.coming))
        buffer[:count] = self.coming[:count]
        del self.coming[:count]
        return count

    def send(self, data: bytes) -> int:
        self.full = not self.full
        if self.room and self.full:
            raise BlockingIOError
        count = min(len(data), self.room or len(data))
        self.sent += bytes(data[:count])
        return count

    def close(self) -> None:
        self.ended = True

    def watch(self, who: object, descriptor: int, before: int, mask: int) -> None:
        assert before == self.mask
        self.mask = mask

    def bury(self, action: Callable[[], None]) -> None:
        action()


class Peer(Connection):
    """The server's end of a connection, and the kernel below it. Nothing is done later, no mistake of ours forgiven."""

    kernel: Kernel

    @classmethod
    def come(cls, server: Server, room: int, token: bytes | None = None) -> "Peer":
        kernel = Kernel(room)
        handshake = ServerHandshake(token) if token else None
        peer = cls(server, kernel, ("192.0.2.1", 7), kernel, handshake, None)  # type: ignore[arg-type]
        peer.kernel = kernel
        peer.start()
        return peer

    def _later(self, delay_s: float, action: object) -> None:
        pass

    def failed(self, error: Exception) -> None:
        raise error

    def hear(self, data: bytes) -> None:
        self.kernel.coming += data
        if self.kernel.mask & READ:
            self.ready(READ)

    def turn(self) -> bool:
        """What the kernel would tell of. False when there is nothing."""
        waits = READ if self.kernel.coming else 0
        events = self.kernel.mask & (WRITE | waits)
        if events:
            self.ready(events)
        return bool(events)


def rest(peers: list[Peer]) -> None:
    for _ in range(10_000):
        if not sum(peer.turn() for peer in peers):
            return
    raise AssertionError("it never comes to rest")


KEYS = st.sampled_from((b"a", b"b", b"m"))
WHAT = ["put", "get"] * 6 + ["view", "take"] * 3 + ["monitor", "cancel"] * 2 + ["close"]
EVENTS = st.sampled_from(("", "g", "p", "v", "w", "gpvw"))
# Not every operation needs every word; but drawn alike they come as often as they stand in WHAT.
operations = st.tuples(
    st.sampled_from(WHAT), KEYS, st.integers(0, 120), st.sampled_from((b"a", b"b", b"")), EVENTS
)
COUNT = 3


def many(thing: st.SearchStrategy, most: int) -> st.SearchStrategy:
    """Lists of all lengths alike; of `lists` alone most would be short."""
    return st.integers(0, most).flatmap(lambda count: st.lists(thing, min_size=count, max_size=count))


def encoded(step: tuple) -> bytes:
    what, key, data, watched, events = step
    if what == "put":
        return wire.encode_put(key, text(data))
    if what == "monitor":
        return wire.encode_monitor(b"m", watched, events)
    if what in ("cancel", "close"):
        return wire.CANCEL if what == "cancel" else wire.CLOSE
    return wire.encode_keyed({"get": wire.GET, "view": wire.VIEW, "take": wire.TAKE}[what], key)


def carry_out(model: Model, who: int, step: tuple) -> None:
    what, key, data, watched, events = step
    if what == "put":
        model.put(key, data)
    elif what == "monitor":
        model.monitor(b"m", watched, events)
    elif what == "take":
        model.take(who, key)
    elif what in ("get", "view"):
        model.read(who, key, what == "get")
    else:
        model.gone(who)
        if what == "cancel":
            model.say(who, wire.ABSENT)


@settings(deadline=None, max_examples=150)
@given(
    many(st.tuples(st.integers(0, COUNT - 1), operations), 40),
    many(st.tuples(st.integers(0, COUNT - 1), st.integers(1, 60)), 80),
    st.booleans(),
)
def test_any_operations_of_several_clients_in_any_pieces(sequence, pieces, alone) -> None:
    server, model = Server(logger=SILENT, alone=alone), Model()
    server.on_down = None
    peers = [Peer.come(server, 0) for _ in range(COUNT)]
    for peer in peers:
        peer._rhythm = None  # how bursts are foreseen is a matter between the kernel and the patrol
    ahead: list[list[tuple[int, tuple]]] = [[] for _ in peers]
    unsent, done = [b""] * COUNT, [0] * COUNT
    for number, (who, step) in enumerate(sequence):
        what, key, size, *words = step
        step = (what, key, b"%d " % number + bytes(size), *words)
        unsent[who] += encoded(step)
        ahead[who].append((len(unsent[who]), step))
    for who, count in [*pieces, *((who, 1 << 20) for who in range(COUNT))]:
        peers[who].hear(unsent[who][:count])
        unsent[who] = unsent[who][count:]
        done[who] += count
        while ahead[who] and ahead[who][0][0] <= done[who]:
            _, step = ahead[who].pop(0)
            carry_out(model, who, step)
            if step[0] == "close":
                ahead[who].clear()
        for index, peer in enumerate(peers):
            assert peer.kernel.sent == model.out.get(index, b"")
        server.store.check_invariants()
    assert {each.key: each.values for each in server.store.summaries()} == {
        key: len(values) for key, values in model.values.items() if values
    }
    assert sorted(server.store.waiters()) == sorted(
        (key, sum(each[1] == key for each in model.waits)) for key in {each[1] for each in model.waits}
    )


BROKEN = many(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            (b"put_", b"get_", b"view", b"mkey", b"take", b"canc", b"dump", b"jdmp", b"clos", b"aut1", b"prov")
            + (b"         1", b"       100", b"       900", b"9999999999", b"        -1", b"s", b"sASTR", b"s:gp")
            + (wire.encode_put(b"s", text(bytes(300))), wire.encode_keyed(wire.VIEW, b"s"))
        ),
    ),
    40,
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(BROKEN, st.integers(1, 400), st.booleans(), st.sampled_from((0, 7, 60)))
def test_whatever_a_stranger_sends_others_are_served(parts, step, guarded, room) -> None:
    server = Server(limits=LIMITS, logger=SILENT)
    server.on_down = None
    honest = Peer.come(server, 0)
    stranger = Peer.come(server, room, bytes(32) if guarded else None)
    data, answers = b"".join(parts), b""
    for number, at in enumerate(range(0, len(data), step)):
        stranger.hear(data[at : at + step])
        stranger.turn()
        assert len(stranger._kept) <= LIMITS.output_bytes + LIMITS.batch_bytes + 1_000
        assert server.held_bytes <= LIMITS.input_total_bytes + step
        answers += wire.encode_value(text(b"%d" % number))
        honest.hear(wire.encode_put(b"honest", text(b"%d" % number)) + wire.encode_keyed(wire.GET, b"honest"))
        assert honest.kernel.sent == answers
    rest([stranger])
    assert not guarded or server.store.counts.puts == (len(data) + step - 1) // step
    stranger.abort()
    server.store.check_invariants()
    assert stranger.kernel.ended and not list(server.store.waiters()) and server.connection_count == 1
    assert server.held_bytes == 0
