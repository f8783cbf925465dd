"""The mailboxes between driver and engines: their keys in the KVS, and messages as its values."""

from disbatch.core.codec import decode, encode
from disbatch.core.messages import Message
from kvsstcp.values import Value

JSON = b"JSON"
MESSAGE = b"MSGP"  # MessagePack, behind two bytes of our own


def up_key(did: str) -> bytes:
    """The driver's one mailbox."""
    return f"disBatch up {did}".encode("ascii")


def down_key(sid: str, ep: int) -> bytes:
    """The mailbox of one connection of one engine: what waits in a broken one is never taken by another."""
    return f"disBatch down {sid} {ep}".encode("ascii")


def join_key(did: str) -> bytes:
    """The driver's mailbox for contexts that join and for orders (`core.joining`)."""
    return f"disBatch join {did}".encode("ascii")


def to_value(message: Message) -> Value:
    return Value(MESSAGE, encode(message))


def from_value(value: Value) -> Message:
    """Raises PeerError when the value is no message."""
    return decode(value.data)
