"""Status files read by the block and line by line: whatever they hold, and wherever blocks end, both say the same."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from disbatch_builders import task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from disbatch.core.columns import rows_of
from disbatch.core.errors import StatusFileError
from disbatch.core.status import HEADER
from disbatch.runtime import resume
from disbatch.runtime.resume import ResumeFiles

PLAIN = (
    b"    ",
    b"1",
    b"2",
    b"-1",
    b"vm",
    b"9",
    b"0",
    b"0.500",
    b"1.000",
    b"1.500",
    b"0",
    b"''",
    b"0",
    b"''",
    b"true",
)
COMMANDS = (b"true", b"a\tb", b"", b"x\r", b"a\rb", b"\xff", b"\t0\t''\t0\t''\t", b"y" * 99)
ODD_NUMBERS = (b"", b"-1", b"-100", b"x", b"07", b"+3", b" 2", b"1_0", b"9" * 19, b"1.5", b"2\n", b"-")
ODD_TIMES = (b"", b".", b"5", b"1.", b".5", b"-0.001", b"nan", b"1e3", b"1.2.3", b"x")
ODD_TEXTS = (b'"it\'s"', b"'a\\n'", b"junk", b"", b"'a\nb'", b"'")
ODD_FLAGS = (
    b"",
    b"R   ",
    b" O  ",
    b"   S",
    b"   P",
    b"R  P",
    b"B    ",
    b"C    ",
    b"   Z",
    b"hell",
    b"x    ",
    b"\xff",
)
WHAT_FITS = {
    0: ODD_FLAGS, 4: (b"", b"a\nb", b"x y"), 11: ODD_TEXTS, 13: ODD_TEXTS, 14: COMMANDS,
    **dict.fromkeys((7, 8, 9), ODD_TIMES), **dict.fromkeys((1, 2, 3, 5, 6, 10, 12), ODD_NUMBERS),
}  # fmt: skip
FAILED_OR_LOST = ((b"9", b"1"), (b"-1", b"-100"), (b"9", b"-100"), (b"-1", b"7"), (b"9", b"-0"))


@st.composite
def rows(draw: st.DrawFn) -> bytes:
    fields = [*PLAIN]
    fields[1:4] = [b"%d" % draw(st.integers(low, 5)) for low in (0, 1, -1)]
    fields[14] = draw(st.sampled_from(COMMANDS[:2]))
    kind = draw(st.integers(0, 9))
    if kind in (1, 2):
        fields[5:7] = draw(st.sampled_from(FAILED_OR_LOST))
    elif kind == 3:
        which = draw(st.sampled_from(sorted(WHAT_FITS)))
        fields[which] = draw(st.sampled_from(WHAT_FITS[which]))
    elif kind == 4:
        del fields[draw(st.integers(0, 14)) :]
    elif kind == 5:
        fields[1] = b"%d" % draw(st.sampled_from([2**60, 2**62, 10**6]))
    return HEADER if kind == 6 and draw(st.booleans()) else b"\t".join(fields)


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    lines = draw(st.lists(rows(), max_size=12))
    ends = draw(st.lists(st.sampled_from([b"\n"] * 9 + [b"\r\n"]), min_size=len(lines), max_size=len(lines)))
    return b"".join(line + end for line, end in zip(lines, ends, strict=True)) + draw(
        st.sampled_from([b"", b"R  ", b"\r"])
    )


def said(paths: tuple[str, ...], own: str | None, by_id: bool) -> Iterator[object]:
    """All that a reader of these files tells."""
    try:
        files = ResumeFiles(paths, retry_failed=False, by_id_only=by_id, own=own)
    except StatusFileError as error:
        yield re.sub("0x[0-9a-f]+", "", str(error))  # Python names what it cannot read by its address
        return
    yield from (files.notes, files.last_task_id, files.barriers, files.commands)
    for task_id in (*range(7), 10, 10**6, 2**60, 2**62, 10**19 - 1, 10**18 - 1):
        for command in COMMANDS[:3]:
            for line_no, index in ((1, -1), (2, -1), (2, 3)):
                try:
                    yield files.judge(task(task_id, command, line_no=line_no, index=index)), files.moved
                except StatusFileError as error:
                    yield str(error)
    files.close()


def same(
    folder: Path, patch: pytest.MonkeyPatch, files: list[bytes], block: int, own: bool, by_id: bool
) -> None:
    """Read both ways, with blocks of the usual size and of this one, they say the same."""
    paths = tuple(str(folder / f"{number}") for number in range(len(files)))
    for path, content in zip(paths, files, strict=True):
        Path(path).write_bytes(content)
    read = (paths[:-1], paths[-1], by_id) if own else (paths, None, by_id)
    with patch.context() as one:
        one.setattr(resume, "rows_of", lambda *_: None)
        expected = [*said(*read)]
    assert [*said(*read)] == expected
    with patch.context() as one:
        one.setattr(resume, "BLOCK", block)
        assert [*said(*read)] == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.lists(contents(), min_size=1, max_size=3), st.integers(1, 400), st.booleans(), st.booleans())
def test_by_the_block_as_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[bytes], block: int, own: bool, by_id: bool
) -> None:
    same(tmp_path, monkeypatch, files, block, own, by_id)


def line(changes: dict[int, bytes]) -> bytes:
    return b"\t".join(changes.get(number, field) for number, field in enumerate(PLAIN)) + b"\n"


@pytest.mark.parametrize("field", WHAT_FITS)
@pytest.mark.parametrize("own", [False, True])
def test_each_odd_field_is_taken_as_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: int, own: bool
) -> None:
    for value in WHAT_FITS[field]:
        same(
            tmp_path,
            monkeypatch,
            [line({}) + line({1: b"2", field: value}) + line({1: b"3"})],
            100,
            own,
            False,
        )


@pytest.mark.parametrize("own", [False, True])
def test_lost_and_failed_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool) -> None:
    content = b"".join(line({1: b"%d" % n, 5: p, 6: c}) for n, (p, c) in enumerate(FAILED_OR_LOST))
    same(tmp_path, monkeypatch, [content], 100, own, False)


@pytest.mark.parametrize(
    "change", [{}, {3: b"7"}, {6: b"1"}, {5: b"-1", 6: b"-100"}, {11: b'"it\'s"'}, {14: b"a\tb"}]
)
def test_what_is_written_daily_is_read_by_the_block(change: dict[int, bytes]) -> None:
    read = rows_of(line(change) * 3, 0, 0)
    assert read is not None and len(read.digests) == 3


def test_a_line_end_of_two_characters_is_no_part_of_the_command() -> None:
    assert rows_of(line({14: b"true\r"}), 0, 0) is None
