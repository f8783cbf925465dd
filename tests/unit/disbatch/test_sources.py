"""Reading task lists: byte-order mark, line ends, long lines, chunk edges; and pipes, read as they come."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from disbatch_builders import items as items_of

from disbatch.core.errors import TaskFileError, UsageError
from disbatch.core.model import Item, Task
from disbatch.runtime import sources
from disbatch.runtime.sources import BOM, FileSource, StreamSource, is_regular, open_task_list


def read_file(path: Path, content: bytes) -> tuple[list[Item], list[str], int]:
    """(items, notes, the number of tasks by the quick count)."""
    path.write_bytes(content)
    with open_task_list(str(path)) as file:
        assert is_regular(file)
        source = FileSource(file, "Tasks")
        source.check()
        return list(source.items()), source.cleaner.notes, source.count()


class Pipe:
    def __init__(self) -> None:
        end, self.writer = os.pipe()
        self.file = os.fdopen(end, "rb", buffering=0)
        self.source = StreamSource(self.file, "standard input")

    def write(self, data: bytes) -> None:
        os.write(self.writer, data)
        self.source.read()

    def end(self) -> None:
        os.close(self.writer)
        self.writer = -1
        self.source.read()

    def commands(self) -> list[bytes]:
        return [item.command for item in self.source.take(1000) if isinstance(item, Task)]

    def close(self) -> None:
        self.file.close()
        if self.writer >= 0:
            os.close(self.writer)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close()


CONTENTS = {
    "empty": b"",
    "newline": b"\n",
    "no newline at the end": b"a\nb",
    "newline at the end": b"a\nb\n",
    "blank lines": b"\n\na\n\n\nb\n\n",
    "directives": b"#DISBATCH PREFIX ( \n#DISBATCH REPEAT 3 x\n# c\n#DISBATCH BARRIER\n#DISBATCH SUFFIX )\ny",
    "carriage return within": b"a\rb\nc\n",
    "form feed and the like within": b"a\x0cb\x0b\x1c\x85\xe2\x80\xa8c\n",
    "several chunks": b"".join(b"echo %d\n" % i for i in range(2000)),
    "a line longer than a chunk": b"a\n" + b"x" * 3000 + b"\nb",
}


@pytest.fixture(params=[1 << 20, 256, 4])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK", request.param)


@pytest.mark.parametrize("name", CONTENTS)
def test_files_whatever_the_chunks(name: str, tmp_path: Path, chunk: None) -> None:
    content = CONTENTS[name]
    items, notes, count = read_file(tmp_path / "Tasks", content)
    assert items == items_of(content)
    assert count == sum(isinstance(item, Task) for item in items)
    assert notes == []


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("piece", [1, 7, 4000])
def test_pipes_whatever_the_pieces(name: str, piece: int, pipe: Pipe) -> None:
    content = CONTENTS[name]
    got: list[Item] = []
    for start in range(0, len(content), piece):
        pipe.write(content[start : start + piece])
        got += pipe.source.take(10)
    pipe.end()
    while more := pipe.source.take(10):
        got += more
    assert got == items_of(content)
    assert pipe.source.drained


@pytest.mark.parametrize(
    ("content", "noted"),
    [
        (BOM + b"a\nb", ["byte-order mark"]),
        (b"a\r\nb\r\n", ["CRLF"]),
        (BOM + b"a\r\nb\r\n", ["byte-order mark", "CRLF"]),
        (b"a\nb\r\n", ["CRLF"]),
        (BOM + b"\r\na\r\n#DISBATCH PREFIX \r\nb", ["byte-order mark", "CRLF"]),
    ],
)
def test_byte_order_mark_and_crlf_are_taken_off_with_a_note(
    content: bytes, noted: list[str], tmp_path: Path, pipe: Pipe
) -> None:
    items, notes, count = read_file(tmp_path / "Tasks", content)
    assert [item.command for item in items if isinstance(item, Task)] == [b"a", b"b"] and count == 2
    pipe.write(content)
    pipe.end()
    assert pipe.commands() == [b"a", b"b"]
    for got in (notes, pipe.source.cleaner.notes):
        assert sorted(word for word in ("byte-order mark", "CRLF") if any(word in n for n in got)) == sorted(
            noted
        )
        assert len(got) == len(noted)


def test_a_byte_order_mark_before_a_directive(tmp_path: Path) -> None:
    items, _, count = read_file(tmp_path / "Tasks", BOM + b"#DISBATCH REPEAT 2 x\n")
    assert len(items) == count == 2
    with pytest.raises(TaskFileError, match="line 1"):
        read_file(tmp_path / "Tasks", BOM + b"#DISBATCH FOO\n")


def test_a_mark_elsewhere_stays(tmp_path: Path) -> None:
    items, _, _ = read_file(tmp_path / "Tasks", b"a\n" + BOM + b"b\n")
    assert items[1].command == BOM + b"b"  # type: ignore[union-attr]


@pytest.mark.parametrize("where", [0, 1, 500, 1999])
def test_check_names_the_line_whatever_the_chunks(where: int, tmp_path: Path, chunk: None) -> None:
    lines = [b"echo %d" % i for i in range(2000)]
    lines[where] = b"  #DISBATCH NOPE \r"
    with pytest.raises(TaskFileError) as caught:
        read_file(tmp_path / "Tasks", b"\n".join(lines))
    text = str(caught.value)
    assert text.startswith(f"Tasks, line {where + 1}: ") and "#DISBATCH NOPE" in text and "\r" not in text


def test_a_line_too_long_to_be_a_command_is_named(
    tmp_path: Path, pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "LINE_LIMIT", 1000)
    with pytest.raises(TaskFileError, match="line 2"), monkeypatch.context() as small:
        small.setattr(sources, "CHUNK", 256)
        read_file(tmp_path / "Tasks", b"a\n" + b"x" * 5000 + b"\n")
    pipe.write(b"a\n" + b"x" * 100)
    assert pipe.commands() == [b"a"]
    with pytest.raises(TaskFileError, match="line 2"):
        while True:
            pipe.write(b"x" * 100)


def test_a_task_is_there_as_soon_as_its_line_is(pipe: Pipe) -> None:
    pipe.write(b"a\nb")
    assert pipe.commands() == [b"a"]
    assert not pipe.source.drained
    pipe.write(b"c\n")
    assert pipe.commands() == [b"bc"]
    pipe.end()
    assert pipe.source.drained


def test_a_repeat_of_millions_in_a_pipe_is_not_unrolled(pipe: Pipe) -> None:
    pipe.write(b"#DISBATCH REPEAT 10000000000 x\nlast\n")
    assert len(pipe.source.take(5)) == 5
    assert pipe.source.take(1)[0].task_id == 5


def test_a_stream_is_not_drained_while_a_repeat_goes_on(pipe: Pipe) -> None:
    pipe.write(b"#DISBATCH REPEAT 10 x\n")
    pipe.end()
    assert len(pipe.source.take(4)) == 4
    assert not pipe.source.drained
    assert len(pipe.source.take(20)) == 6
    assert pipe.source.drained


def test_reading_ahead_has_a_bound(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "STREAM_BUFFER_LINES", 3)
    pipe.write(b"a\nb\n")
    assert not pipe.source.full
    pipe.write(b"c\n")
    assert pipe.source.full
    pipe.source.take(1)
    assert not pipe.source.full


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(UsageError, match="/nowhere/Tasks: No such file"):
        open_task_list("/nowhere/Tasks")
