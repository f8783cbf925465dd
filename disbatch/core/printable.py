"""How names, commands and output of others are shown: nothing in them moves the cursor, breaks a line or reorders text.

Also how a word is quoted so that a shown command line can be pasted. Nothing here prints.
"""

import shlex
from collections.abc import Iterable

# C0, DEL, C1; line and paragraph separators; marks, embeddings and isolates that reorder text; the byte order mark
_HOSTILE = frozenset(
    (*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A), 0xFEFF)
)  # fmt: skip
_SURROGATES = range(0xD800, 0xE000)
_BYTES = range(0xDC80, 0xDD00)  # bytes that were no UTF-8, as `surrogateescape` decodes them
BREAK = "\n    "  # within a message
_SHORT = {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}


def printable(text: str) -> str:
    r"""Return `text` with control characters escaped: `\n`, `\x1b`, `\u202e`, and `\xff` for a byte that is no UTF-8.

    All else stays as it is, the backslash too: the result is for people, not for a way back.
    """
    # every character that is escaped here counts as not printable, so nearly every text ends in this one call
    if text.isprintable():
        return text
    return "".join([_escaped(c) if _is_hostile(c) else c for c in text])


def printable_message(text: str) -> str:
    """Like `printable`, for a message of our own, whose further lines begin with four blanks.

    Any other line feed came with a name, and is escaped too: so what follows cannot look like a message.
    """
    return text if text.isprintable() else BREAK.join([printable(line) for line in text.split(BREAK)])


def is_plain(text: str) -> bool:
    """Return True if `printable` changes nothing."""
    return text.isprintable() or not any(map(_is_hostile, text))


def shell_word(text: str) -> str:
    r"""Return `text` quoted for bash: as `shlex.quote` does, and as `$'…'` where it would not be shown as it is.

    The result has no control character. bash reads it back byte by byte, in any locale. Raises ValueError for a NUL,
    which no word can have.
    """
    if "\0" in text:
        raise ValueError("a word with a NUL byte cannot be given to a program")
    if is_plain(text):
        return shlex.quote(text)
    return "$'" + "".join(map(_dollar_quoted, text)) + "'"


def shell_line(words: Iterable[str]) -> str:
    """Return a command line that bash splits into `words`."""
    return " ".join(map(shell_word, words))


def _is_hostile(c: str) -> bool:
    return ord(c) in _HOSTILE or ord(c) in _SURROGATES


def _escaped(c: str) -> str:
    code = ord(c)
    if code in _SHORT:
        return _SHORT[code]
    if code in _BYTES:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def _dollar_quoted(c: str) -> str:
    if c == "\\":
        return "\\\\"
    # `!` and a quote behind a backslash: some interactive shells expand their history in there
    if c not in "'!" and not _is_hostile(c):
        return c
    if ord(c) in _SHORT:
        return _SHORT[ord(c)]
    # bytes, not \u: what bash makes of that depends on the locale. A surrogate that is no byte has no better form
    return "".join(f"\\x{byte:02x}" for byte in _bytes_of(c))


def _bytes_of(c: str) -> bytes:
    return bytes([ord(c) - 0xDC00]) if ord(c) in _BYTES else c.encode("utf-8", "surrogatepass")
