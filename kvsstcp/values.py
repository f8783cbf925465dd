"""Values and their codings. A coding is four bytes that travel with the data; the store never looks inside.

Nothing here loads a pickle: data under coding PYPK stays the bytes that it came as.
"""

import json
from typing import Any, NamedTuple

from kvsstcp.errors import UsageError

ASTR = b"ASTR"
"""Text (UTF-8) or plain bytes."""
JSON = b"JSON"
"""A JSON document in UTF-8."""
PYPK = b"PYPK"
"""A Python pickle, written by old clients. Carried, never loaded."""


class Value(NamedTuple):
    """What stands under a key: `coding` (exactly 4 bytes) and `data`."""

    coding: bytes
    data: bytes

    def text(self) -> str:
        """The data as text; bytes that are not UTF-8 become escapes. For people, not for round trips."""
        return self.data.decode("utf-8", "backslashreplace")

    def json(self) -> Any:
        """The decoded document. Raises UsageError when the coding is not JSON or the document is damaged."""
        if self.coding != JSON:
            raise UsageError(f"the value is coded {self.coding!r}, not JSON")
        try:
            return json.loads(self.data)
        except ValueError as error:
            raise UsageError(f"the value is no JSON document: {error}") from error


def text_value(text: str | bytes) -> Value:
    """A value of coding ASTR; a str is encoded as UTF-8."""
    return Value(ASTR, text.encode() if isinstance(text, str) else bytes(text))


def json_value(document: Any) -> Value:
    """A value of coding JSON. Raises UsageError for what JSON cannot express."""
    try:
        return Value(JSON, json.dumps(document, separators=(",", ":")).encode())
    except (TypeError, ValueError) as error:
        raise UsageError(f"not expressible in JSON: {error}") from error


def as_value(thing: Value | str | bytes) -> Value:
    """A Value stays itself, after a look at its coding; text and bytes become ASTR. Raises UsageError otherwise."""
    if isinstance(thing, Value):
        as_coding(thing.coding)
        return thing
    if isinstance(thing, str | bytes | bytearray | memoryview):
        return text_value(thing if isinstance(thing, str) else bytes(thing))
    raise UsageError(
        f"a value is str, bytes or Value (json_value makes one from a document), not {type(thing).__name__}"
    )


def as_coding(coding: str | bytes) -> bytes:
    """Four bytes, or UsageError."""
    code = coding.encode() if isinstance(coding, str) else coding
    if not isinstance(code, bytes) or len(code) != 4:
        raise UsageError(f"a coding is exactly four bytes, not {coding!r}")
    return code


def as_key(key: str | bytes) -> bytes:
    """A key as bytes; text is encoded as UTF-8, with surrogates back to the bytes that they stand for."""
    if isinstance(key, bytes):
        return key
    if isinstance(key, str):
        return key.encode("utf-8", "surrogateescape")
    raise UsageError(f"a key is str or bytes, not {type(key).__name__}")
