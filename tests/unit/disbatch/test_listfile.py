"""A task file that changes while it is read: nothing that was read after the change is used, by whoever reads it."""

import asyncio
import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from disbatch import cli
from disbatch.core.driver_events import Ending
from disbatch.core.errors import ListChangedError, MachineError
from disbatch.core.model import Item, Task
from disbatch.runtime import prepare, sources
from disbatch.runtime.feeding import FileFeeder
from disbatch.runtime.listfile import ListFile
from disbatch.runtime.sources import FileSource, open_task_list

BLOCK = 64
LINES = [b"echo line %03d of the list" % i for i in range(40)]
CONTENT = b"\n".join(LINES) + b"\n"

Change = Callable[[Path], None]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut_in_a_line(path: Path) -> None:
    os.truncate(path, 31 * len(LINES[0]) + 10)


def append(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b"echo one more\n")


def go_on_with_the_last_line(path: Path) -> None:
    with open(path, "ab") as file:
        file.write(b" and its other half\n")


def overwrite_with_less(path: Path) -> None:
    path.write_bytes(b"echo something else\n" * 3)


def overwrite_with_as_much(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"list", b"LIST"))


def overwrite_and_set_the_time_back(path: Path) -> None:
    """All but the beginning, of which the first block has been read."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(BLOCK)
        rest = file.read()
        file.seek(BLOCK)
        file.write(rest.replace(b"list", b"LIST"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"echo something else\n")
    other.replace(path)


def remove(path: Path) -> None:
    path.unlink()


def chmod(path: Path) -> None:
    path.chmod(0o600)


CHANGES: dict[Change, str] = {
    empty: "shrank from 1,040 to 0 bytes",
    cut_in_a_line: "shrank from 1,040 to 785 bytes",
    append: "grew from 1,040 to 1,054 bytes",
    go_on_with_the_last_line: "grew from 1,040 to 1,060 bytes",
    overwrite_with_less: "shrank from 1,040 to 60 bytes",
    overwrite_with_as_much: "overwritten in place, 1,040 bytes as before",
    overwrite_and_set_the_time_back: "were overwritten, and its time was set back",
    touch: "overwritten in place, 1,040 bytes as before (last written 1970-01-01",
}
HARMLESS = (replace, remove, chmod)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "Tasks"
    path.write_bytes(CONTENT)
    os.utime(path, ns=(10**18, 10**18))  # so that no write comes within the same step of the clock
    return path


@pytest.fixture
def source(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileSource]:
    monkeypatch.setattr(sources, "CHUNK", BLOCK * sources.BLOCKS_A_CHUNK)
    with open_task_list(str(path)) as file:
        yield FileSource(file, "Tasks")


def commands(items: list[Item]) -> list[bytes]:
    return [item.command for item in items if isinstance(item, Task)]


@contextlib.contextmanager
def is_noticed(change: Change) -> Iterator[None]:
    with pytest.raises(ListChangedError) as caught:
        yield
    assert str(caught.value).startswith("Tasks changed while it was read: ")
    assert CHANGES[change] in str(caught.value) and caught.value.exit_code == 3


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_read_after_a_change_is_handed_out(change: Change, source: FileSource, path: Path) -> None:
    source.check()
    items = source.items()
    got = [next(items)]
    change(path)
    with is_noticed(change):
        for item in items:
            got.append(item)
    # what is left of the block that was read before
    assert commands(got) == LINES[: BLOCK // (len(LINES[0]) + 1)]


@pytest.mark.parametrize("change", HARMLESS)
def test_another_file_under_its_name_does_no_harm(change: Change, source: FileSource, path: Path) -> None:
    source.check()
    items = source.items()
    got = [next(items)]
    change(path)
    source.verify()
    assert commands([*got, *items]) == LINES
    assert source.count() == len(LINES)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("reader", ["check", "items", "count", "fingerprint"])
def test_whoever_reads_it_notices(change: Change, reader: str, source: FileSource, path: Path) -> None:
    source.check()
    source.fingerprint()
    change(path)
    with is_noticed(change):
        found = getattr(source, reader)()
        if reader == "items":
            list(found)


@pytest.mark.parametrize("change", [c for c in CHANGES if c is not overwrite_and_set_the_time_back])
def test_a_change_during_the_first_reading(
    change: Change, source: FileSource, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes_after(3, change, path, monkeypatch)
    with is_noticed(change):
        source.check()


def test_a_last_line_that_grows_is_not_taken_as_it_was(source: FileSource, path: Path) -> None:
    path.write_bytes(CONTENT.removesuffix(b"\n"))
    with open_task_list(str(path)) as file:
        source = FileSource(file, "Tasks")
        source.check()
        items = source.items()
        got = [next(items) for _ in range(len(LINES) - 1)]
        go_on_with_the_last_line(path)
        with pytest.raises(ListChangedError, match="grew"):
            got.append(next(items))
        assert commands(got) == LINES[:-1]


def test_a_file_that_ends_early_although_its_size_is_as_it_was(
    source: FileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system whose attributes are some seconds old."""
    source.check()
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: b"" if at >= 2 * BLOCK else read(fd, size, at))
    with pytest.raises(ListChangedError, match="ends after 128 bytes instead of 1,040"):
        list(source.items())


def test_reads_that_give_less_than_was_asked_for(source: FileSource, monkeypatch: pytest.MonkeyPatch) -> None:
    source.check()
    read = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: read(fd, min(size, 7), at))
    assert commands(list(source.items())) == LINES


@pytest.mark.parametrize("call", ["pread", "fstat"])
def test_a_file_that_cannot_be_read_any_more(
    call: str, source: FileSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle")

    source.check()
    with monkeypatch.context() as broken, pytest.raises(MachineError) as caught:
        broken.setattr(os, call, stale)
        list(source.items())
    assert str(caught.value) == "cannot read the task file Tasks any more: Stale file handle"


# -- what feeds the driver


class Taker:
    """Takes as many items as it is told."""

    def __init__(self) -> None:
        self.wanted = 0
        self.got: list[Item] = []
        self.failures: list[tuple[str, Ending]] = []
        self.ended = False

    def wants(self) -> int:
        return self.wanted

    def give(self, items: list[Item]) -> None:
        self.got += items
        self.wanted = 0

    def end(self, failure: str) -> None:
        self.ended = True
        self.wanted = 0

    def fail(self, text: str, ending: Ending) -> None:
        self.failures.append((text, ending))
        self.wanted = 0

    def note(self, text: str) -> None: ...


@pytest.mark.parametrize("change", [*CHANGES, *HARMLESS])
def test_what_was_read_before_is_not_given_once_it_is_noticed(
    change: Change, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole list is in the first block: only the look before items are given can notice."""
    taker = Taker()

    async def feed() -> None:
        with open_task_list(str(path)) as file:
            source = FileSource(file, "Tasks")
            source.check()
            feeder = FileFeeder(source, taker)
            taker.wanted = 5
            feeder.feed()
            change(path)
            taker.wanted = 5
            feeder.feed()
            taker.wanted = 1000
            feeder.feed()
            taker.wanted = 1000
            feeder.feed()

    asyncio.run(feed())
    if change in HARMLESS:
        assert commands(taker.got) == LINES and taker.ended and not taker.failures
    elif change is overwrite_and_set_the_time_back:
        # all was read before
        assert commands(taker.got) == LINES
    else:
        assert commands(taker.got) == LINES[:5] and not taker.ended
        ((text, ending),) = taker.failures
        assert CHANGES[change] in text and ending is Ending.LIST_CHANGED and ending.exit_code == 3


def test_a_list_that_cannot_be_read_has_an_ending_of_its_own(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker = Taker()
    with open_task_list(str(path)) as file:
        source = FileSource(file, "Tasks")
        source.check()
        feeder = FileFeeder(source, taker)
        taker.wanted = 5
        with monkeypatch.context() as broken:
            broken.setattr(os, "pread", lambda *_: os.stat("/nowhere"))
            feeder.feed()
    assert [ending for _, ending in taker.failures] == [Ending.LIST_UNREADABLE] and taker.got == []
    assert Ending.LIST_UNREADABLE.exit_code == 3


# -- before a run


def changes_after(reads: int, change: Change, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file changes when so many blocks of it were read."""
    original = ListFile._read
    left = [reads]

    def read(self: ListFile, offset: int) -> bytes:
        data = original(self, offset)
        left[0] -= 1
        if left[0] == 0:
            change(path)
        return data

    monkeypatch.setattr(ListFile, "_read", read)


@pytest.mark.parametrize("reads", [3, 25])
def test_a_dry_run_of_a_list_that_changes(
    reads: int, path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the first reading, which checks, and in the second one."""
    monkeypatch.setattr(sources, "CHUNK", BLOCK * sources.BLOCKS_A_CHUNK)
    changes_after(reads, cut_in_a_line, path, monkeypatch)
    with open_task_list(str(path)) as file:  # which a program leaves to its end
        monkeypatch.setattr(prepare, "open_task_list", lambda path: file)
        assert cli.main(["-s", "localhost:1", "--dry-run", str(path)]) == 3
    shown = capfd.readouterr()
    assert f"disBatch: error: {path} changed while it was read: it shrank from 1,040 to 785" in shown.err
    assert "nothing was run" not in shown.out and "tasks" not in shown.out
