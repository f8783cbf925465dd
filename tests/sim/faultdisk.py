"""The status files of a simulated run and of its resumptions, as bytes: written as the driver writes them, torn by its
death, and read again by the program's own reader."""

import os
import random
import tempfile
from collections import Counter

from faultworld import Broken, World

from disbatch.core.model import LOST
from disbatch.core.resume import Place
from disbatch.core.status import StatusRecord, format_record, parse_record
from disbatch.runtime.charges import count_charges
from disbatch.runtime.resume import ResumeFiles

_IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None


class StatusFile:
    """That of one run. `earlier` are the bytes of those that are resumed from; a run that is gone on with has a
    `text` already, of which a torn last line is taken off."""

    def __init__(self, world: World, earlier: bytes, text: bytes, charges: bytes) -> None:
        self._world = world
        self.earlier = earlier
        self.text = bytearray(text[: text.rfind(b"\n") + 1])
        self._charges = bytearray(charges)  # the file beside it
        self.reader = _reader(earlier, bytes(self.text) if text else None)

    def close(self) -> None:
        self.reader.close()

    @property
    def all_text(self) -> bytes:
        """For a run after this one. What is torn inside was the end of a file."""
        whole = self.text.rfind(b"\n") + 1
        return self.earlier[: self.earlier.rfind(b"\n") + 1] + bytes(self.text[:whole]) + self.text[whole:]

    @property
    def own(self) -> tuple[bytes, bytes]:
        """What is there for a driver that takes over."""
        return bytes(self.text), bytes(self._charges)

    def charge(self, lines: tuple[str, ...], *, whole: bool = True) -> None:
        """Which tasks count for which context, before their lines: all of it, or what the driver's death lets through."""
        if self._charges and not self._charges.endswith(b"\n"):
            self._charges += b"\n"
        data = "".join(lines).encode()
        self._charges += data if whole else data[: len(data) * (self._world.events % 3) // 2]

    def charged(self) -> Counter[str]:
        return count_charges(
            bytes(self._charges).splitlines(keepends=True), self.reader.has_line, self.reader.last_own_task_id
        )

    def write(self, row: StatusRecord | Place) -> None:
        """Raises Broken when it tells what was not so."""
        self.text += self._line(row)
        if isinstance(row, StatusRecord):
            self._world.write(row)

    def tear(self, row: StatusRecord | Place, chance: random.Random) -> None:
        """The driver dies while it writes this line."""
        line = self._line(row)
        self.text += line[: chance.randrange(len(line))]
        self._world.counts["torn lines"] += 1

    def _line(self, row: StatusRecord | Place) -> bytes:
        return format_record(row) if isinstance(row, StatusRecord) else self.reader.skipped_lines([row])[0]

    def check_final(self, tasks: set[int]) -> None:
        """One line for each task, all of them whole; of what really ended, one in all files together."""
        if self.text and not self.text.endswith(b"\n"):
            raise Broken("the status file of a run that is over ends in a torn line")
        last = _task_rows(bytes(self.text))
        found = sorted(row.task_id for row in last)
        if found != sorted(tasks):
            raise Broken(f"the lines of the status file are of {found}, the tasks are {sorted(tasks)}")
        ends = [
            row.task_id for row in _task_rows(self.all_text) if row.flags[3] != "S" and row.returncode != LOST
        ]
        if len(ends) != len(set(ends)):
            raise Broken("a task has two ends in the status files")


def _reader(earlier: bytes, own: bytes | None) -> ResumeFiles:
    """Reads files whose names are gone as soon as they are open."""
    with tempfile.TemporaryDirectory(dir=_IN_MEMORY) as folder:
        paths = [os.path.join(folder, name) for name in ("earlier", "own")]
        texts = [earlier] if own is None else [earlier, own]
        for path, text in zip(paths, texts, strict=False):
            with open(path, "wb") as file:
                file.write(text)
        last = None if own is None else paths[1]
        return ResumeFiles((paths[0],), retry_failed=False, by_id_only=False, own=last)


def _task_rows(text: bytes) -> list[StatusRecord]:
    lines = text[: text.rfind(b"\n") + 1].splitlines()
    rows = [parse_record(line, "the status file") for line in lines]
    return [row for row in rows if row is not None and row.flags[0] not in "BC" and row.flags[3] != "P"]
