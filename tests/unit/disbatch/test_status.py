"""Status lines, byte for byte: the rows of docs/status.md, round trips, older forms, and what is refused."""

import pytest
from disbatch_builders import barrier, outcome, per_engine, task
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.errors import StatusFileError
from disbatch.core.model import NO_REPEAT, Barrier, PerEngine, Task
from disbatch.core.status import (
    HEADER,
    StatusRecord,
    as_skipped,
    barrier_record,
    command_text,
    format_record,
    parse_record,
    task_record,
)


def line(*fields: str) -> bytes:
    return "\t".join(fields).encode() + b"\n"


TIMES = ("0.005", "1795353845.322", "1795353845.328")
NOTHING = ("0", "''", "0", "''")


def ran(pid: int, code: int = 0, out: str = "", err: str = "", **changes: object):
    seconds = {"elapsed_s": 0.0051, "start_s": 1795353845.3221, "finish_s": 1795353845.3279}
    sizes = {"out_bytes": len(out), "out_snippet": out, "err_bytes": len(err), "err_snippet": err}
    return outcome(code, pid=pid, **{**seconds, **sizes, **changes})


SNIPPET = "0000 0001 0002 0003 0004 0005 0006 0007 ...0192 0193 0194 0195 0196 0197 0198 0199 "

ROWS = {
    "per-engine": (
        task_record(PerEngine("START", 0, 1, b"echo pe-start"), "vm", ran(32131, out="pe-start\n")),
        line(" O P", "0", "1", "-1", "vm", "32131", "0", *TIMES, "9", r"'pe-start\n'", "0", "''", "echo pe-start"),
    ),
    "leaked output": (
        task_record(Task(2, 7, NO_REPEAT, b"echo hello"), "vm", ran(32143, out="hello\n")),
        line(" O  ", "2", "7", "-1", "vm", "32143", "0", *TIMES, "6", r"'hello\n'", "0", "''", "echo hello"),
    ),
    "failed": (
        task_record(Task(1, 6, NO_REPEAT, b"exit 7"), "vm", ran(32142, 7)),
        line("R   ", "1", "6", "-1", "vm", "32142", "7", *TIMES, *NOTHING, "exit 7"),
    ),
    "failed and leaked both": (
        task_record(Task(4, 9, NO_REPEAT, b"echo both; echo err >&2; exit 2"), "vm", ran(32147, 2, "both\n", "err\n")),
        line("ROE ", "4", "9", "-1", "vm", "32147", "2", *TIMES, "5", r"'both\n'", "4", r"'err\n'", "echo both; echo err >&2; exit 2"),
    ),
    "repeated": (
        task_record(Task(6, 11, 10, b"echo idx $DISBATCH_REPEAT_INDEX >/dev/null"), "vm", ran(32154)),
        line("    ", "6", "11", "10", "vm", "32154", "0", *TIMES, *NOTHING, "echo idx $DISBATCH_REPEAT_INDEX >/dev/null"),
    ),
    "not UTF-8": (
        task_record(Task(10, 13, NO_REPEAT, b"printf '%s' '\xff\xfe' >/dev/null"), "vm", ran(5)),
        line("    ", "10", "13", "-1", "vm", "5", "0", *TIMES, *NOTHING, r"""b"printf '%s' '\xff\xfe' >/dev/null" """.rstrip()),
    ),
    "apostrophe": (
        task_record(Task(13, 16, NO_REPEAT, b'printf "it\'s"'), "vm", ran(5, out="it's")),
        line(" O  ", "13", "16", "-1", "vm", "5", "0", *TIMES, "4", '''"it's"''', "0", "''", '''printf "it's"'''),
    ),
    "long output": (
        task_record(Task(16, 19, NO_REPEAT, b"many"), "vm", ran(5, out=SNIPPET, out_bytes=1000)),
        line(" O  ", "16", "19", "-1", "vm", "5", "0", *TIMES, "1000", f"'{SNIPPET}'", "0", "''", "many"),
    ),
    "signal": (
        task_record(task(0, b"kill -9 $$"), "vm", ran(5, -9)),
        line("R   ", "0", "1", "-1", "vm", "5", "-9", *TIMES, *NOTHING, "kill -9 $$"),
    ),
    "not started": (
        task_record(task(0, b"x"), "vm", ran(-1, 7)),
        line("R   ", "0", "1", "-1", "vm", "-1", "7", *TIMES, *NOTHING, "x"),
    ),
    "leaked error only": (
        task_record(task(0, b"x"), "vm", ran(5, err="e")),
        line("  E ", "0", "1", "-1", "vm", "5", "0", *TIMES, "0", "''", "1", "'e'", "x"),
    ),
    "tabs in the command": (
        task_record(task(0, b"a\tb\t"), "vm", ran(5)),
        line("    ", "0", "1", "-1", "vm", "5", "0", *TIMES, *NOTHING, "a\tb\t"),
    ),
    "barrier": (
        barrier_record(barrier(5), "vm", 32042, 1795353845.3221, 1795353845.3411),
        line("B    ", "5", "6", "-1", "vm", "32042", "0", "0.019", "1795353845.322", "1795353845.341", *NOTHING, "#DISBATCH BARRIER"),
    ),
    "barrier check": (
        barrier_record(barrier(24, check=True), "vm", 32042, 10.0, 11.008),
        line("C    ", "24", "25", "-1", "vm", "32042", "0", "1.008", "10.000", "11.008", *NOTHING, "#DISBATCH BARRIER CHECK"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows_byte_for_byte(name: str) -> None:
    record, expected = ROWS[name]
    assert format_record(record) == expected


@pytest.mark.parametrize("name", ROWS)
def test_each_line_reads_back_and_writes_the_same(name: str) -> None:
    expected = ROWS[name][1]
    record = parse_record(expected[:-1], "f")
    assert record is not None
    assert format_record(record) == expected


def test_the_header_byte_for_byte_and_skipped_when_read() -> None:
    assert HEADER == (
        b"ROE[ PSZ]\tTaskID\tLineNum\tRepeatIndex\tNode\tPID\tReturnCode\tElapsed\tStart\tFinish\t"
        b"BytesOfLeakedOutput\tOutputSnippet\tBytesOfLeakedError\tErrorSnippet\tCommand"
    )
    assert parse_record(HEADER, "f") is None
    assert parse_record(HEADER + b"\r", "f") is None


TEXT = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]))
MILLISECONDS = st.integers(0, 10**13).map(lambda n: n / 1000)


@given(
    st.builds(
        StatusRecord,
        st.sampled_from(["    ", "ROE ", "R  P", " O S", "  EZ", "B    ", "C    "]),
        st.integers(0, 2**62),
        st.integers(1, 2**31),
        st.integers(-(2**62), 2**62),
        st.text(st.characters(exclude_characters="\n\r\t", exclude_categories=["Cs"]), min_size=1),
        st.integers(-1, 2**22),
        st.integers(-100, 255),
        MILLISECONDS,
        MILLISECONDS,
        MILLISECONDS,
        st.integers(0, 2**60),
        st.text(),
        st.integers(0, 2**60),
        st.text(),
        TEXT,
    )
)
def test_record_to_line_and_back(record: StatusRecord) -> None:
    data = format_record(record)
    assert data.count(b"\n") == 1 and data.endswith(b"\n")
    assert data.count(b"\t") == 14 + record.command.count("\t")
    assert parse_record(data[:-1], "f") == record


@given(st.binary().filter(lambda b: b"\n" not in b))
def test_any_command_stays_on_one_line(command: bytes) -> None:
    data = format_record(task_record(task(0, command), "vm", outcome()))
    assert data.count(b"\n") == 1
    try:
        command.decode()
        assert data.endswith(b"\t" + command + b"\n")
    except UnicodeDecodeError:
        assert data.endswith(b"\t" + repr(command).encode() + b"\n")


def test_command_text() -> None:
    assert command_text("é\t".encode()) == "é\t"
    assert command_text(b"\xe9") == r"b'\xe9'"


MANUAL = (
    b'\t314\t315\t-1\tworker032\t8016\t0\t10.0486528873\t1458660919.78\t1458660929.83\t0\t""\t0\t""\t'
    b"'cd /path/to/workdir ; myprog -a 3 -b 1 -c 4 > task_3_1_4.log 2>&1'"
)


@pytest.mark.parametrize("flags", [b"", b"    "])
@pytest.mark.parametrize("end", [b"", b"\r"])
def test_the_form_of_the_manual(flags: bytes, end: bytes) -> None:
    record = parse_record(flags + MANUAL + end, "f")
    assert record is not None
    assert record[1:10] == (314, 315, -1, "worker032", 8016, 0, 10.0486528873, 1458660919.78, 1458660929.83)
    assert record[10:14] == (0, "", 0, "")
    assert record.command == "'cd /path/to/workdir ; myprog -a 3 -b 1 -c 4 > task_3_1_4.log 2>&1'"


GOOD = ROWS["leaked output"][1][:-1]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"hello",
        b"\t" * 13,
        GOOD.replace(b"\t2\t7", b"\tx\t7"),
        GOOD.replace(b"\t2\t7", b"\t2\tx"),
        GOOD.replace(b"\t-1\t", b"\t\t"),
        GOOD.replace(b"32143", b"1e3"),
        GOOD.replace(b"\t0.005", b"\tfast"),
        GOOD.replace(rb"'hello\n'", b"hello"),
        GOOD.replace(rb"'hello\n'", b"12"),
        GOOD.replace(rb"'hello\n'", b"'hello"),
        GOOD.replace(b" O  ", b"\xff"),
        GOOD.rsplit(b"\t", 1)[0],
    ],
)
def test_anything_else_is_an_error_that_names_the_place(bad: bytes) -> None:
    with pytest.raises(StatusFileError, match=r"^run_status\.txt, line 3: ") as caught:
        parse_record(bad, "run_status.txt, line 3")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("flags", "skipped"),
    [(b"    ", b"   S"), (b"ROE ", b"ROES"), (b"R  S", b"R  S"), (b"", b"   S"), (b"R", b"R  S")],
)
def test_a_skipped_line_keeps_all_but_its_fourth_flag(flags: bytes, skipped: bytes) -> None:
    rest = GOOD[4:] + b"\textra\xff"
    assert as_skipped(flags + rest) == skipped + rest + b"\n"
    assert as_skipped(flags + rest + b"\r") == skipped + rest + b"\n"


def test_per_engine_rows_have_no_repeat_index() -> None:
    assert task_record(per_engine("STOP", 3), "vm", outcome()).repeat_index == -1


def test_a_barrier_row_never_shows_a_negative_duration_or_a_failure() -> None:
    row = barrier_record(Barrier(3, 9, True, b"k", b"#DISBATCH BARRIER CHECK k"), "vm", 1, 5.0, 5.0)
    assert (row.flags, row.returncode, row.elapsed_s) == ("C    ", 0, 0.0)
