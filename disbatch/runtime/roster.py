"""Who has brought engines to this run, kept in its info file: what a driver that takes this one's place has to know.

Written before a context is told that it is taken in; in a thread, one after the other, as the file system may hang.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass

from disbatch.core.errors import UsageError
from disbatch.core.takeover import JoinedContext
from disbatch.runtime.shortage import shortage
from kvsstcp.errors import KvsError
from kvsstcp.infofile import read_private, write_private

_AGAIN_S = (0.2, 1.0)  # where the machine has no descriptor or thread to give
_BEGIN = "-----BEGIN"
_WORDS = ("ranks ", "context ")


@dataclass(frozen=True, slots=True)
class Entries:
    """Ranks below `next_rank` have been given; `contexts` may have engines."""

    next_rank: int
    contexts: tuple[JoinedContext, ...]


class Roster:
    """For the driver's loop. `now` says what is to be written; `warn` is told when that is not possible."""

    def __init__(self, path: str, now: Callable[[], Entries], warn: Callable[[str], None]) -> None:
        self._path = path
        self._now = now
        self._warn = warn
        self._last: asyncio.Task[None] | None = None
        self._closed = False

    def write(self, then: Callable[[], None]) -> None:
        """Writes what is so now, and calls `then` once it is on file, or cannot be."""
        if self._closed:
            then()
            return
        self._last = asyncio.get_running_loop().create_task(self._write(self._last, then))

    async def finish(self, seconds: float) -> None:
        """Returns when nothing more will be written: at the end of the run the file goes."""
        self._closed = True
        if self._last is not None:
            await asyncio.wait((self._last,), timeout=seconds)

    async def _write(self, before: "asyncio.Task[None] | None", then: Callable[[], None]) -> None:
        if before is not None:
            await asyncio.wait((before,))
        for wait_s in (*_AGAIN_S, None):
            try:
                await asyncio.to_thread(_replace, self._path, self._now())
                break
            except (OSError, KvsError, RuntimeError) as error:
                missing = shortage(error) or shortage(error.__cause__)
                if missing and wait_s is not None:
                    await asyncio.sleep(wait_s)
                    continue
                if isinstance(error, RuntimeError) and not missing:
                    raise
                self._warn(f"cannot note in {self._path} who has joined (--reattach): {error}")
                break
        then()


def _replace(path: str, entries: Entries) -> None:
    before, begin, certificate = read_private(path).partition(_BEGIN)
    kept = [line for line in before.splitlines() if not line.startswith(_WORDS)]
    lines = [*kept, *entry_lines(entries.next_rank, entries.contexts)]
    write_private(path, "\n".join(lines) + "\n" + begin + certificate)


def entry_lines(next_rank: int, contexts: tuple[JoinedContext, ...]) -> tuple[str, ...]:
    """A context is: its id, task limit, first rank, number of ranks, label in quotes."""
    lines = [
        f"context {c.cid} {c.task_limit} {c.ranks.start} {len(c.ranks)} {json.dumps(c.label)}"
        for c in sorted(contexts, key=lambda c: c.ranks.start)
    ]
    return (f"ranks {next_rank}", *lines)


def read_entries(path: str) -> Entries:
    """What a roster has written; nothing for a file without one. Raises UsageError when it is not to be believed."""
    ranks, contexts = 0, list[JoinedContext]()
    try:
        text = read_private(path)
    except FileNotFoundError:
        text = ""
    except OSError as error:
        raise UsageError(f"--reattach: cannot read {path}: {error.strerror}") from None
    with contextlib.suppress(ValueError):
        for line in text.split("\n"):
            word, _, rest = line.strip().partition(" ")
            if word == "ranks":
                ranks = int(rest)
            elif word == "context":
                cid, limit, first, count, label = rest.split(" ", 4)
                taken = range(int(first), int(first) + int(count))
                contexts.append(JoinedContext(cid, json.loads(label), int(limit), taken))
    return Entries(ranks, tuple(contexts))
