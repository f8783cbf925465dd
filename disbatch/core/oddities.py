"""Lines of a task list that are good, and probably not meant as they stand: for notes before a run, and while one comes in.

Looked for by the chunk, as in `scan`: a list without such lines costs a search or two for a few bytes.
"""

import re

from disbatch.core.plural import counted, noun
from disbatch.core.taskfile import BLANKS, MARK

MOST = 10_000  # such lines are counted: by then it is clear that they are meant, or that nobody has looked

# Compiled at their first use: most lists have no such lines, and each pattern costs a start a third of a millisecond.
_CONTINUED = rb"(?m)^(?![ \t]*#(?!DISBATCH)).*\\\r?$"
_SUFFIX = rb"(?mi)^[ \t]*#DISBATCH[ \t]+SUFFIX(?:[ \t](.*))?$"
# Up to a # that begins a word outside of quotes: there bash begins a comment.
_COMMENT = rb"""(?:[^'"\\#\n]|\\.|'[^'\n]*'|"(?:[^"\\\n]|\\.)*"|(?<![ \t;&|(])#)*+(?<=[ \t;&|(])#"""


def _ends_in_backslash(chunk: bytes) -> bool:
    return b"\\\n" in chunk or b"\\\r\n" in chunk or chunk.endswith(b"\\")


class _Found:
    def __init__(self) -> None:
        self.count = 0
        self.first = 0  # line number
        self.told = False

    def add(self, line_no: int) -> None:
        self.first = self.first or line_no
        self.count += 1

    @property
    def lines(self) -> str:
        """`line 7`, or `12 lines (the first is line 7)`."""
        if self.count == 1:
            return f"line {self.first}"
        number = f"more than {MOST} lines" if self.count >= MOST else counted(self.count, "line")
        return f"{number} (the first is line {self.first})"


class Oddities:
    """Feed it the chunks of a list in order, each of whole lines; `news` tells what there is to say."""

    def __init__(self) -> None:
        self._continued = _Found()
        self._comments = _Found()
        self._returns = 0  # carriage returns within a line, as long as no line has an end
        self._lines = 0
        self._suffix = False
        self._told_returns = False

    def feed(self, chunk: bytes) -> None:
        """`chunk` ends with a line, or with the list."""
        if not self._lines:
            self._returns += chunk.rstrip(b"\r\n").count(b"\r")
        # One byte is looked for at many times the speed of two.
        if b"\\" in chunk and self._continued.count < MOST and _ends_in_backslash(chunk):
            for match in re.finditer(_CONTINUED, chunk):
                self._add(self._continued, chunk, match.start())
        self._look_for_comments(chunk)
        self._lines += chunk.count(b"\n")

    def news(self) -> list[str]:
        """Return what has not been said yet, each kind once."""
        found = []
        if self._continued.count and not self._continued.told:
            self._continued.told = True
            ends = noun(self._continued.count, "ends", "end")
            found.append(
                f"{self._continued.lines} {ends} in a backslash: a command does not go on in the next line, which is a task "
                "of its own"
            )
        if self._comments.count and not self._comments.told:
            self._comments.told = True
            has = noun(self._comments.count, "has a comment", "have comments")
            found.append(f"{self._comments.lines} {has} at the end, and the SUFFIX behind it is a part of it")
        if self._returns and not self._lines and not self._told_returns:
            self._told_returns = True
            found.append(
                f"the list is one line with {counted(self._returns, 'carriage return')}: line ends of an old Mac? "
                "tr '\\r' '\\n' < OLD > NEW makes lines of it"
            )
        return found

    def _look_for_comments(self, chunk: bytes) -> None:
        start = 0
        if MARK in chunk:
            for match in re.finditer(_SUFFIX, chunk):
                self._comments_in(chunk, start, match.start())
                self._suffix = bool((match[1] or b"").strip())
                start = match.end()
        self._comments_in(chunk, start, len(chunk))

    def _comments_in(self, chunk: bytes, start: int, end: int) -> None:
        if not self._suffix:
            return
        at = start
        while self._comments.count < MOST and (at := chunk.find(b"#", at, end)) >= 0:
            begin = chunk.rfind(b"\n", 0, at) + 1
            line_end = chunk.find(b"\n", at, end)
            at = line_end if line_end >= 0 else end
            line = chunk[begin:at].lstrip(BLANKS)
            text = line.removeprefix(MARK)
            if (text != line or not line.startswith(b"#")) and re.match(_COMMENT, text):
                self._add(self._comments, chunk, begin)

    def _add(self, found: _Found, chunk: bytes, offset: int) -> None:
        # To know the line is worth a pass over the chunk once only.
        found.add(0 if found.count else self._lines + chunk.count(b"\n", 0, offset) + 1)
