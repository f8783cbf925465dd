"""The wire protocol, without a socket: bytes in, requests or replies out, and the encoders of both.

A client sends four-byte operations. NUMBER is ten characters, decimal, right-justified; FRAME is a NUMBER and that many
bytes.

    put_ FRAME(key) CODING FRAME(value)    no reply
    get_ FRAME(key)                        CODING FRAME(value), oldest value, once there is one; removed
    view FRAME(key)                        CODING FRAME(value), newest value, once there is one; it stays
    mkey FRAME(key) FRAME(KEY:EVENTS)      no reply
    dump                                   FRAME(a pickle), for old clients only
    clos, down                             no reply: the connection, or the server, ends

The operations of one connection are carried out in their order. What one connection has put is certain to be there for
another only when the first has had a reply to something later.

Old clients know no more than that. Added operations:

    take FRAME(key)    CODING FRAME(value) like get_, at once; ABSENT when there is nothing
    canc               ABSENT, always; the get_ or view that still waits on this connection is forgotten
    jdmp               FRAME(a JSON document), the dump for everybody else
    aut1 NONCE         the handshake (see `auth`): the server answers `aut1 NONCE PROOF`
    prov PROOF         the client's part of it; the server answers `okay`

ABSENT is the coding `none` with the number -1. NONCE and PROOF are 32 bytes each. `aut1` and `prov` are read by the
handshake objects of `auth`, before any decoder of this module sees a byte of that connection.
"""

from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

from kvsstcp.errors import BadNumber, ProtocolError, TooLong, UnexpectedReply, UnknownOperation
from kvsstcp.limits import DEFAULT_LIMITS, Limits
from kvsstcp.values import Value

PUT, GET, VIEW, MKEY = b"put_", b"get_", b"view", b"mkey"
DUMP, CLOSE, DOWN = b"dump", b"clos", b"down"
TAKE, CANCEL, JSON_DUMP = b"take", b"canc", b"jdmp"
AUTH, PROVE, OKAY = b"aut1", b"prov", b"okay"

ABSENT = b"none        -1"
EMPTY = Value(b"none", b"")

_KEY_ONLY = frozenset((GET, VIEW, TAKE))
_KEY_AND_VALUE = frozenset((PUT, MKEY))
_BARE = frozenset((DUMP, CLOSE, DOWN, CANCEL, JSON_DUMP))

# Most lengths on the wire are small and repeat: looking one up costs a quarter of checking and converting it.
_SMALL = 4096
_known_numbers: dict[bytes, int] = {}


def number(field: bytes) -> int:
    """The value of a ten-character number field. Raises BadNumber."""
    digits = field.lstrip(b" ")
    if len(field) != 10 or not digits.isdigit():
        raise BadNumber(f"not a right-justified decimal number of ten characters: {field!r}")
    value = int(digits)
    if value < _SMALL and len(_known_numbers) < _SMALL:
        _known_numbers[field] = value
    return value


Request = tuple[bytes, bytes, Value]
"""One operation: its name, the key (empty where it has none), the value (EMPTY where it has none; for mkey its data is
KEY:EVENTS). A plain tuple: a named one would cost a tenth of reading the request."""

# What a NamedTuple's own constructor comes to, in half the time; for the one place where that is counted.
_new: Callable[[Any, tuple[Any, ...]], Any] = tuple.__new__


class _Known:
    """What stood before keys and values already, within the limits that it was checked against. Requests of one program
    are alike: one lookup of fourteen bytes takes the place of reading and checking an operation and a number."""

    __slots__ = ("heads", "tails")

    def __init__(self) -> None:
        self.heads: dict[bytes, tuple[bytes, int]] = {}
        """OPERATION NUMBER: the operation, of those with a key, and the length of the key."""
        self.tails: dict[bytes, tuple[bytes, int]] = {}
        """CODING NUMBER: the coding and the length of a put's value."""


@cache
def _known_within(limits: Limits) -> _Known:
    return _Known()


class _ValueInProgress:
    """A value whose length is known and whose bytes are still coming; it grows with them, never ahead of them."""

    __slots__ = ("coding", "data", "key", "missing", "op")

    def __init__(self, op: bytes, key: bytes, coding: bytes, first: bytes, length: int):
        self.op = op
        self.key = key
        self.coding = coding
        self.data = bytearray(first)
        self.missing = length - len(first)

    def add(self, data: bytes) -> bytes:
        """Take what belongs to the value; returns what follows it."""
        if len(data) <= self.missing:
            self.data += data
            self.missing -= len(data)
            return b""
        missing = self.missing
        self.data += memoryview(data)[:missing]
        self.missing = 0
        return data[missing:]

    def value(self) -> Value:
        return Value(self.coding, bytes(self.data))


class RequestDecoder:
    """The server's reader of one connection.

    `feed` returns the requests that are complete. When the peer breaks a rule, the requests before the fault are still
    returned and `error` is set; feeding further raises that error.
    """

    __slots__ = (
        "_growing",
        "_heads",
        "_key_max",
        "_needed",
        "_rest",
        "_tails",
        "_value_max",
        "error",
        "unfinished",
    )

    def __init__(self, limits: Limits = DEFAULT_LIMITS):
        self._key_max = limits.key_bytes
        self._value_max = limits.value_bytes
        known = _known_within(limits)
        self._heads = known.heads
        self._tails = known.tails
        self._rest = b""
        self._needed = 0
        self._growing: _ValueInProgress | None = None
        self.error: ProtocolError | None = None
        self.unfinished = False
        """Whether a part of a request is held."""

    @property
    def held_bytes(self) -> int:
        """Bytes of the unfinished request."""
        return len(self._rest) + (len(self._growing.data) if self._growing is not None else 0)

    def feed(self, data: bytes) -> list[Request]:
        requests: list[Request] = []
        if self.error is not None:
            raise self.error
        if self.unfinished:
            data = self._go_on(data, requests)
        try:
            at, end, heads, tails = 0, len(data), self._heads, self._tails
            while at < end:
                # The usual case, which is in the tables; all else goes to `_read_one`.
                key_at = at + 14
                head = heads.get(data[at:key_at])
                if head is not None:
                    op, length = head
                    key_end = key_at + length
                    if op != PUT:
                        if key_end <= end:
                            requests.append((op, data[key_at:key_end], EMPTY))
                            at = key_end
                            continue
                    else:
                        value_at = key_end + 14
                        tail = tails.get(data[key_end:value_at])
                        if tail is not None:
                            coding, length = tail
                            value_end = value_at + length
                            if value_end <= end:
                                value = _new(Value, (coding, data[value_at:value_end]))
                                requests.append((op, data[key_at:key_end], value))
                                at = value_end
                                continue
                at = self._read_one(data, at, requests)
        except ProtocolError as error:
            self.error = error
        return requests

    def _go_on(self, data: bytes, requests: list[Request]) -> bytes:
        """With more of a request of which a part is held. Returns what is still to be read."""
        growing = self._growing
        if growing is not None:
            data = growing.add(data)
            if growing.missing:
                return b""
            self._growing = None
            requests.append((growing.op, growing.key, growing.value()))
        else:
            # At most a key and two numbers: joining bytes that come one by one costs a bounded square.
            data = self._rest + data
            if len(data) < self._needed:
                self._rest = data
                return b""
            self._rest = b""
        self.unfinished = False
        return data

    def _read_one(self, data: bytes, at: int, requests: list[Request]) -> int:
        """Read the request at `at` and check all of it. Returns where the next one starts; the end, when the rest is
        kept."""
        end = len(data)
        op = data[at : at + 4]
        key_at = at + 14
        if op in _BARE:
            requests.append((op, b"", EMPTY))
            return at + 4
        _check_operation(op)
        if end < key_at:
            return self._keep(data, at, 14 if len(op) == 4 else 4)
        length = number(data[at + 4 : key_at])
        _check_length("key", length, self._key_max)
        key_end = key_at + length
        if length < _SMALL and len(self._heads) < _SMALL and op != MKEY:
            self._heads[data[at:key_at]] = (op, length)
        if end < key_end:
            return self._keep(data, at, key_end - at)
        if op in _KEY_ONLY:
            requests.append((op, data[key_at:key_end], EMPTY))
            return key_end
        return self._read_value(op, data, at, key_at, key_end, requests)

    def _read_value(
        self, op: bytes, data: bytes, at: int, key_at: int, key_end: int, requests: list[Request]
    ) -> int:
        """The part of put_ and mkey after the key. Returns like `_read_one`."""
        coding_end = key_end + 4 if op == PUT else key_end
        value_at = coding_end + 10
        if len(data) < value_at:
            return self._keep(data, at, value_at - at)
        length = number(data[coding_end:value_at])
        # KEY:EVENTS: a key and a few letters.
        _check_length("value", length, self._value_max if op == PUT else self._key_max + 16)
        coding = data[key_end:coding_end]
        if len(self._tails) < _SMALL and op == PUT:
            self._tails[data[key_end:value_at]] = (coding, length)
        value_end = value_at + length
        if len(data) < value_end:
            self._growing = _ValueInProgress(op, data[key_at:key_end], coding, data[value_at:], length)
            self.unfinished = True
            return len(data)
        requests.append((op, data[key_at:key_end], Value(coding, data[value_at:value_end])))
        return value_end

    def _keep(self, data: bytes, at: int, needed: int) -> int:
        self._rest = data[at:]
        self._needed = needed
        self.unfinished = True
        return len(data)


def _check_operation(op: bytes) -> None:
    """Raises UnknownOperation as soon as no operation begins with these up to four bytes."""
    if op in _KEY_AND_VALUE or op in _KEY_ONLY or op in _BARE:
        return
    if len(op) < 4 and any(known.startswith(op) for known in _KEY_AND_VALUE | _KEY_ONLY | _BARE):
        return
    raise UnknownOperation(f"no such operation: {op!r}")


def _check_length(what: str, length: int, limit: int) -> None:
    if length > limit:
        raise TooLong(f"a {what} of {length} bytes was announced; the limit is {limit}")


class ReplyDecoder:
    """The client's reader of one connection. `expect` says, in order, to which operations replies are due.

    A reply is a Value, or None for ABSENT. The frame that answers a dump comes as a Value of coding `dump` or `jdmp`.
    Raises ProtocolError from `feed`; after that the decoder is of no more use.
    """

    __slots__ = ("_due", "_growing", "_needed", "_rest", "_value_max")

    def __init__(self, limits: Limits = DEFAULT_LIMITS):
        self._value_max = limits.value_bytes
        self._due: deque[bytes] = deque()
        self._rest = b""
        self._needed = 0
        self._growing: _ValueInProgress | None = None

    def expect(self, op: bytes) -> None:
        self._due.append(op)

    @property
    def due(self) -> int:
        """How many replies are still to come."""
        return len(self._due)

    def feed(self, data: bytes) -> list[Value | None]:
        replies: list[Value | None] = []
        growing = self._growing
        if growing is not None:
            data = growing.add(data)
            if growing.missing:
                return replies
            self._growing = None
            replies.append(growing.value())
        elif self._rest:
            data = self._rest + data
            if len(data) < self._needed:
                self._rest = data
                return replies
            self._rest = b""
        self._parse(data, replies)
        return replies

    def _parse(self, data: bytes, replies: list[Value | None]) -> None:
        at, end = 0, len(data)
        due, known = self._due, _known_numbers
        while at < end:
            if not due:
                raise UnexpectedReply(f"the server sent {end - at} bytes that nobody asked for")
            framed = due[0] in (DUMP, JSON_DUMP)
            number_at = at if framed else at + 4
            value_at = number_at + 10
            if end < value_at:
                self._rest, self._needed = data[at:], value_at - at
                return
            if not framed and data[at:value_at] == ABSENT:
                self._absent(replies)
                at = value_at
                continue
            field = data[number_at:value_at]
            length = known.get(field)
            if length is None:
                length = number(field)
            _check_length("value", length, self._value_max)
            op = due.popleft()
            coding = op if framed else data[at:number_at]
            at = value_at + length
            if end < at:
                self._growing = _ValueInProgress(op, b"", coding, data[value_at:], length)
                return
            replies.append(Value(coding, data[value_at:at]))

    def _absent(self, replies: list[Value | None]) -> None:
        """ABSENT answers take and canc. Where a get_ or view is due it was forgotten by the canc sent behind it, so
        that both end here."""
        op = self._due.popleft()
        replies.append(None)
        if op in (GET, VIEW):
            if not self._due or self._due.popleft() != CANCEL:
                raise UnexpectedReply(f"the server says that there is no value, which {op!r} waits for")
            replies.append(None)


def encode_put(key: bytes, value: Value) -> bytes:
    return b"put_%10d%b%b%10d%b" % (len(key), key, value.coding, len(value.data), value.data)


def encode_keyed(op: bytes, key: bytes) -> bytes:
    """A get_, view or take."""
    return b"%b%10d%b" % (op, len(key), key)


def encode_monitor(key: bytes, watched: bytes, events: str) -> bytes:
    what = b"%b:%b" % (watched, events.encode())
    return b"mkey%10d%b%10d%b" % (len(key), key, len(what), what)


def encode_value(value: Value) -> bytes:
    """The reply to get_, view and take."""
    return b"%b%10d%b" % (value.coding, len(value.data), value.data)


def encode_frame(data: bytes) -> bytes:
    """The reply to a dump."""
    return b"%10d%b" % (len(data), data)
