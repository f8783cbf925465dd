"""From lines to tasks: the directives, and the lazy expansion of PREFIX, SUFFIX, REPEAT, BARRIER and PERENGINE.

Lines are bytes without their line end; nothing is decoded. Reading files belongs to `runtime.sources`.
Source of the rules: the user manual of disBatch 3.0, docs/taskfiles.md.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from disbatch.core.errors import TaskFileError
from disbatch.core.model import NO_REPEAT, Barrier, Item, PerEngine, PerEngineWhen, Task

MARK = b"#DISBATCH"
BLANKS = b" \t"

_DIRECTIVE = re.compile(rb"[ \t]*#DISBATCH[ \t]+([A-Za-z]+)(?:[ \t](.*))?\Z", re.DOTALL)
_ALMOST = re.compile(rb"[ \t]*#[ \t]*DISBATCH[ \t]+(PREFIX|SUFFIX|REPEAT|BARRIER|PERENGINE)\b", re.IGNORECASE)
_WORD = re.compile(rb"[ \t]*([^ \t]+)")
_COUNT = re.compile(rb"\+?[0-9]+\Z")
_INTEGER = re.compile(rb"[+-]?[0-9]+\Z")
_KNOWN = "PREFIX, SUFFIX, BARRIER, REPEAT, PERENGINE"
MAX_DIGITS = 18  # every number of a directive fits 64 bits, here and in programs that read the status file


class DirectiveError(ValueError):
    """Why a directive is refused; `TaskStream` adds source, line number and line."""


@dataclass(frozen=True, slots=True)
class Affix:
    """PREFIX or SUFFIX: what is put before, or after, every later command."""

    is_prefix: bool
    text: bytes


@dataclass(frozen=True, slots=True)
class Repeat:
    """REPEAT: `count` tasks with the repeat index start, start + step, …"""

    count: int
    start: int
    step: int
    command: bytes


@dataclass(frozen=True, slots=True)
class BarrierLine:
    check: bool
    key: bytes | None


@dataclass(frozen=True, slots=True)
class PerEngineLine:
    when: PerEngineWhen
    command: bytes


Directive = Affix | Repeat | BarrierLine | PerEngineLine


def is_directive(line: bytes) -> bool:
    """Whether the line is meant for disBatch itself: `#DISBATCH` with nothing but blanks before it."""
    return line.lstrip(BLANKS).startswith(MARK)


def is_idle(line: bytes) -> bool:
    """Whether the line is blank or a comment (directives are comments too, ask `is_directive` first)."""
    bare = line.strip()
    return not bare or bare.startswith(b"#")


def parse_directive(line: bytes) -> Directive:
    """The directive on a line for which `is_directive` holds. Raises DirectiveError that says why not."""
    match = _DIRECTIVE.match(line)
    if match is None:
        raise DirectiveError(f"a directive is #DISBATCH, a blank and one of {_KNOWN}")
    name, rest = match[1].upper(), match[2] or b""
    if name in (b"PREFIX", b"SUFFIX"):
        return Affix(name == b"PREFIX", rest)
    if name == b"BARRIER":
        return _parse_barrier(rest)
    if name == b"REPEAT":
        return _parse_repeat(rest)
    if name == b"PERENGINE":
        return _parse_per_engine(rest)
    raise DirectiveError(f"unknown directive {match[1].decode('ascii')!r} (known: {_KNOWN})")


def _parse_barrier(rest: bytes) -> BarrierLine:
    words = rest.split()
    check = bool(words) and words[0].upper() == b"CHECK"
    if check:
        del words[0]
    if len(words) > 1:
        raise DirectiveError("BARRIER takes nothing, CHECK, a key, or CHECK and a key")
    return BarrierLine(check, words[0] if words else None)


def _parse_repeat(rest: bytes) -> Repeat:
    word = _WORD.match(rest)
    if word is None or not _COUNT.match(word[1]):
        raise DirectiveError("REPEAT needs the number of tasks, an integer of 0 or more")
    count, rest = _number(word[1], "number of tasks"), rest[word.end() :]
    options: dict[bytes, int] = {}
    while (word := _WORD.match(rest)) and (name := word[1].lower()) in (b"start", b"step"):
        shown = name.decode("ascii")
        if name in options:
            raise DirectiveError(f"REPEAT has {shown!r} twice")
        value = _WORD.match(rest, word.end())
        if value is None or not _INTEGER.match(value[1]):
            raise DirectiveError(
                f"REPEAT needs an integer after {shown!r} (for a command of that name write ./{shown} or ( {shown} … ))"
            )
        options[name], rest = _number(value[1], shown), rest[value.end() :]
    start, step = options.get(b"start", 0), options.get(b"step", 1)
    last = start + step * max(0, count - 1)
    if abs(last) >= 1 << 63:
        raise DirectiveError(f"the last repeat index of REPEAT would be {last}, which does not fit 64 bits")
    return Repeat(count, start, step, rest.lstrip(BLANKS))


def _number(digits: bytes, what: str) -> int:
    if len(digits.lstrip(b"+-0")) > MAX_DIGITS:
        raise DirectiveError(f"the {what} of REPEAT has more than {MAX_DIGITS} digits")
    return int(digits)


def _parse_per_engine(rest: bytes) -> PerEngineLine:
    word = _WORD.match(rest)
    when = word[1].upper() if word else b""
    if word is None or when not in (b"START", b"STOP"):
        raise DirectiveError("PERENGINE needs START or STOP, then a command")
    command = rest[word.end() :].lstrip(BLANKS)
    if not command:
        raise DirectiveError(f"PERENGINE {when.decode('ascii')} needs a command")
    return PerEngineLine("START" if when == b"START" else "STOP", command)


def _directive_name(directive: Directive) -> str:
    if isinstance(directive, Affix):
        return "PREFIX" if directive.is_prefix else "SUFFIX"
    if isinstance(directive, BarrierLine):
        return "BARRIER CHECK" if directive.check else "BARRIER"
    return "REPEAT" if isinstance(directive, Repeat) else f"PERENGINE {directive.when}"


class TaskStream:
    """Turns successive lines into items, lazily: a REPEAT of ten million tasks is a generator, not a list.

    `source` is the name that errors give; `notes` gets what the user might not have meant. One stream serves one task list;
    ids and line numbers go on counting.
    """

    def __init__(self, source: str, notes: list[str] | None = None) -> None:
        self.source = source
        self._notes = notes
        self.line_no = 0
        self.next_task_id = 0
        self.directives: Counter[str] = Counter()  # how many of each name, for those who want to know
        self._prefix = b""
        self._suffix = b""
        self._per_engine: dict[PerEngineWhen, int] = {"START": 0, "STOP": 0}
        self._item_seen = False  # a task or barrier: PERENGINE comes too late from here on

    def feed(self, line: bytes) -> Iterator[Item]:
        """The items of the next line. Finish the iterator before the next call: it is what counts the ids.

        Raises TaskFileError for a bad line, at once and not while iterating.
        """
        self.line_no += 1
        return self.feed_part(line)

    def feed_part(self, line: bytes) -> Iterator[Item]:
        """The same for a further line that came with the last one, as a single value: it shares its number."""
        if b"\0" in line:
            raise self._error(line, "a NUL byte cannot be part of a command")
        if is_directive(line):
            return self._expand(line)
        if is_idle(line):
            if self._notes is not None and _ALMOST.match(line):
                self._notes.append(
                    f"line {self.line_no} is taken as a comment: a directive begins with #DISBATCH, as it stands here"
                )
                self._notes = None  # said once
            return iter(())
        return iter((self._task(NO_REPEAT, line),))

    def _expand(self, line: bytes) -> Iterator[Item]:
        try:
            directive = parse_directive(line)
        except DirectiveError as error:
            raise self._error(line, str(error)) from None
        self.directives[_directive_name(directive)] += 1
        if isinstance(directive, Affix):
            if directive.is_prefix:
                self._prefix = directive.text
            else:
                self._suffix = directive.text
            return iter(())
        if isinstance(directive, PerEngineLine):
            return iter((self._perengine(line, directive),))
        self._item_seen = True
        if isinstance(directive, Repeat):
            return self._repeat(directive)
        barrier = Barrier(self._take_id(), self.line_no, directive.check, directive.key, line.strip())
        return iter((barrier,))

    def _perengine(self, line: bytes, directive: PerEngineLine) -> PerEngine:
        if self._item_seen:
            raise self._error(line, LATE_PERENGINE)
        task_id = self._per_engine[directive.when]
        self._per_engine[directive.when] += 1
        return PerEngine(directive.when, task_id, self.line_no, self._wrap(directive.command))

    def _repeat(self, repeat: Repeat) -> Iterator[Task]:
        index, command, line_no = repeat.start, self._wrap(repeat.command), self.line_no
        for _ in range(repeat.count):
            task_id = self.next_task_id
            self.next_task_id = task_id + 1
            yield Task(task_id, line_no, index, command)
            index += repeat.step

    def _task(self, repeat_index: int, text: bytes) -> Task:
        self._item_seen = True
        return Task(self._take_id(), self.line_no, repeat_index, self._wrap(text))

    def _wrap(self, text: bytes) -> bytes:
        return self._prefix + text + self._suffix

    def _take_id(self) -> int:
        self.next_task_id += 1
        return self.next_task_id - 1

    def _error(self, line: bytes, why: str) -> TaskFileError:
        return TaskFileError(self.source, self.line_no, line, why)


LATE_PERENGINE = "PERENGINE has to come before the first task, REPEAT or BARRIER"
