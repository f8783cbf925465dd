"""The usage file of a run: what counts as one, and what later versions may add."""

import pytest

from disbatch.core.errors import StatusFileError
from disbatch.report.usage import HEADER, read_usage, usage_path

LINE = b"task\t7\t-1\t1\tn1\t0\t2\t0\t1800000000.000\t2.500\t4.000\t1234"


def test_rows_nodes_remarks_and_more_fields() -> None:
    data = b"\n".join(
        [
            HEADER + b"\tMoreToCome",
            b"#node\tn1\t0\t4\t8\t2000\tcontext",
            b"#node\tn1\t5\t6\t8\t2000\tcontext2",
            b"#node\tn2\tx\t6",
            b"#something else",
            LINE,
            LINE + b"\tnew",
            LINE.replace(b"task", b"START"),
            LINE.replace(b"task", b"STOP"),
            LINE[:-3],
        ]
    )
    table = read_usage([data[:100], data[100:101], data[101:]], "u")
    assert list(table.task) == [7, 7]
    assert (list(table.cpu), list(table.peak), list(table.elapsed), list(table.cores)) == ([4.0] * 2, [1234] * 2, [2.5] * 2, [2] * 2)  # fmt: skip
    assert table.slots == {"n1": 6}
    assert table.memory_kib == {"n1": 2000}
    assert table.cores_per_slot == 2.0


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"hello\n", "u: not a usage file"),
        (HEADER + b"\nhello\n", "u, line 2: not a line of a usage file"),
        (HEADER + b"\n" + LINE + b"\n" + LINE.replace(b"2.500", b"nan") + b"\n", "u, line 3"),
        (HEADER + b"\n" + LINE.replace(b"1234", b"x") + b"\n", "u, line 2"),
        (HEADER + b"\ntask\t7\n", "u, line 2"),
    ],
)
def test_what_is_no_usage_file(data: bytes, why: str) -> None:
    with pytest.raises(StatusFileError, match=why):
        read_usage([data], "u")


def test_an_empty_file_has_no_rows() -> None:
    assert len(read_usage([], "u")) == 0
    assert read_usage([HEADER + b"\n"], "u").cores_per_slot == 1.0


def test_where_the_usage_file_stands() -> None:
    assert usage_path("a/run_status.txt") == "a/run_usage.txt"
    assert usage_path("a/copy.txt") is None
