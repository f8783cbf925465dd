"""Messages between driver and engines as bytes: a letter, a version, MessagePack.

msgspec reads straight into the tuples of `messages` and checks every type on the way. With lists in JSON and checks of our own,
decoding was a fifth of what a driver spent on a task, and now is a fiftieth.
"""

from typing import Any

from msgspec import msgpack

from disbatch.core.errors import PeerError
from disbatch.core.messages import NOTE_CHARS, VERSION, Die, Down, Hello, Message, Up

_LETTERS: dict[type, bytes] = {Hello: b"H", Up: b"U", Down: b"D", Die: b"X"}
_HEADS = {kind: letter + bytes([VERSION]) for kind, letter in _LETTERS.items()}
_DECODERS: dict[bytes, msgpack.Decoder[Any]] = {head: msgpack.Decoder(kind) for kind, head in _HEADS.items()}
_pack = msgpack.Encoder().encode


def encode(message: Message) -> bytes:
    """The message as bytes. What is not text in a text (a path that is no UTF-8, in a reason) becomes a question mark."""
    head = _HEADS[type(message)]
    try:
        return head + _pack(message)
    except UnicodeEncodeError:
        return head + _pack(_as_text(message))


def decode(data: bytes) -> Message:
    """The message in `data`. Raises PeerError for anything that is not one, or of another version."""
    decoder = _DECODERS.get(data[:2])
    if decoder is None:
        if data[:1] in _LETTERS.values() and len(data) > 1:
            raise PeerError(f"a message of protocol version {data[1]}; this program speaks {VERSION}")
        raise PeerError(f"not a message between driver and engine: {data[:80]!r}")
    try:
        message: Message = decoder.decode(memoryview(data)[2:])
    except (ValueError, RecursionError) as error:  # for a text that is no UTF-8 it is not a DecodeError
        raise PeerError(f"not a message between driver and engine ({error}): {data[:80]!r}") from None
    if isinstance(message, Down):
        if not 0 < message.every_s < 1e6:  # a NaN is not, either
            raise PeerError(f"not a message between driver and engine (reports every {message.every_s!r} s)")
    elif not isinstance(message, Die) and message.vitals is not None and not 0 <= message.vitals.load < 1e9:
        raise PeerError(f"not a message between driver and engine (a load of {message.vitals.load!r})")
    if isinstance(message, Up) and len(message.note) > NOTE_CHARS:
        return message._replace(note=message.note[:NOTE_CHARS])
    return message


def _as_text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if not isinstance(value, tuple):
        return value
    parts = [_as_text(part) for part in value]
    make = getattr(value, "_make", tuple)
    return make(parts)
