"""From lines to tasks: every directive and rule of docs/taskfiles.md, and what a bad line is told."""

from itertools import pairwise

import pytest
from disbatch_builders import items
from hypothesis import example, given
from hypothesis import strategies as st

from disbatch.core.errors import TaskFileError
from disbatch.core.model import NO_REPEAT, Barrier, PerEngine, Task
from disbatch.core.scan import DirectiveCheck, count_tasks
from disbatch.core.taskfile import TaskStream


def commands(text: bytes) -> list[bytes]:
    return [item.command for item in items(text) if isinstance(item, Task)]


def test_ids_count_from_0_and_lines_from_1() -> None:
    assert items(b"# comment\n\ntrue\n   \n  # another\nfalse") == [
        Task(0, 3, NO_REPEAT, b"true"),
        Task(1, 6, NO_REPEAT, b"false"),
    ]


def test_a_task_is_kept_to_the_letter() -> None:
    line = b"  printf '%s\t' \xff\xfe \x80 # not a comment  "
    assert commands(line) == [line]


@pytest.mark.parametrize(
    "line", [b"", b" ", b"\t \t", b"#", b"# x", b"   # x", b"#!/bin/bash", b"#DISBATC", b"#disbatch BARRIER"]
)
def test_blank_lines_and_comments_are_no_tasks(line: bytes) -> None:
    assert items(line + b"\ntrue") == [Task(0, 2, NO_REPEAT, b"true")]


@pytest.mark.parametrize("line", [b"#disbatch barrier", b" # DISBATCH REPEAT 3", b"#Disbatch PREFIX x"])
def test_a_comment_that_looks_like_a_directive_is_told_once(line: bytes) -> None:
    notes: list[str] = []
    stream = TaskStream("Tasks", notes)
    for each in (b"# disbatch is fine", line, line):
        assert [*stream.feed(each)] == []
    assert notes == ["line 2 is taken as a comment: a directive begins with #DISBATCH, as it stands here"]


# -- PREFIX and SUFFIX


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        (b"#DISBATCH PREFIX a ; ", b"a ; x"),
        (b"#DISBATCH PREFIX  a", b" ax"),
        (b"#DISBATCH PREFIX \t a\t", b"\t a\tx"),
        (b"#DISBATCH SUFFIX  > log", b"x > log"),
        (b"#DISBATCH SUFFIX &> log ", b"x&> log "),
        (b"  #DISBATCH   PREFIX b", b"bx"),
        (b"\t#DISBATCH\tprefix b", b"bx"),
        (b"#DISBATCH Suffix b", b"xb"),
        (b"#DISBATCH PREFIX \xff", b"\xffx"),
        (b"#DISBATCH PREFIX # ", b"# x"),
        (b"#DISBATCH PREFIX #DISBATCH ", b"#DISBATCH x"),
    ],
)
def test_affixes_are_kept_to_the_letter(directive: bytes, expected: bytes) -> None:
    assert commands(directive + b"\nx") == [expected]


@pytest.mark.parametrize("name", [b"PREFIX", b"SUFFIX"])
@pytest.mark.parametrize("empty", [b"", b" "])
def test_an_empty_affix_resets(name: bytes, empty: bytes) -> None:
    text = b"#DISBATCH %s y\nx\n#DISBATCH %s%s\nx" % (name, name, empty)
    assert commands(text)[1] == b"x"


def test_an_affix_holds_until_the_next_one() -> None:
    text = b"a\n#DISBATCH PREFIX p\n#DISBATCH SUFFIX s\nb\n#DISBATCH REPEAT 1 c\n#DISBATCH PREFIX q\nd"
    assert commands(text) == [b"a", b"pbs", b"pcs", b"qds"]


@given(st.binary().filter(lambda b: b"\n" not in b and b"\0" not in b))
@example(b" ")
@example(b"")
def test_any_affix_comes_back_letter_by_letter(text: bytes) -> None:
    assert commands(b"#DISBATCH PREFIX " + text + b"\nx") == [text + b"x"]
    assert commands(b"#DISBATCH SUFFIX " + text + b"\nx") == [b"x" + text]


# -- REPEAT


@pytest.mark.parametrize(
    ("options", "indices", "command"),
    [
        (b"3", [0, 1, 2], b""),
        (b"0", [], b""),
        (b"3 echo hi", [0, 1, 2], b"echo hi"),
        (b"3 start 5", [5, 6, 7], b""),
        (b"3 step 5 x", [0, 5, 10], b"x"),
        (b"5 start 100 step 50 x y", [100, 150, 200, 250, 300], b"x y"),
        (b"5 step 50 start 100 x y", [100, 150, 200, 250, 300], b"x y"),
        (b"3 start -1 step -2", [-1, -3, -5], b""),
        (b"2 step 0 x", [0, 0], b"x"),
        (b"2 START 7 Step 2 x", [7, 9], b"x"),
        (b"  2   start  +7   x", [7, 8], b"x"),
        (b"1 x start 5", [0], b"x start 5"),
        (b"1 starter 5", [0], b"starter 5"),
        (b"1 start 5 \xff  ", [5], b"\xff  "),
        (b"2 start -999999999999999999 step 999999999999999999", [1 - 10**18, 0], b""),
        (b"0 step 999999999999999999", [], b""),
    ],
)
def test_repeat(options: bytes, indices: list[int], command: bytes) -> None:
    text = b"#DISBATCH PREFIX <\n#DISBATCH SUFFIX >\n#DISBATCH REPEAT " + options
    expected = [Task(i, 3, index, b"<" + command + b">") for i, index in enumerate(indices)]
    assert items(text) == expected


def test_a_repeat_is_lazy_and_ids_go_on_after_it() -> None:
    stream = TaskStream("Tasks")
    tasks = stream.feed(b"#DISBATCH REPEAT 10000000000 true")
    assert [next(tasks).task_id for _ in range(3)] == [0, 1, 2]
    assert [
        i.task_id for i in items(b"#DISBATCH REPEAT 4\nx\n#DISBATCH BARRIER\n#DISBATCH REPEAT 2")
    ] == list(range(8))


# -- BARRIER


@pytest.mark.parametrize(
    ("directive", "check", "key"),
    [
        (b"#DISBATCH BARRIER", False, None),
        (b"#DISBATCH BARRIER  ", False, None),
        (b"#DISBATCH barrier check", True, None),
        (b"#DISBATCH BARRIER Check ", True, None),
        (b"#DISBATCH BARRIER mykey", False, b"mykey"),
        (b"#DISBATCH BARRIER CHECK mykey", True, b"mykey"),
        (b"#DISBATCH BARRIER CHECK check", True, b"check"),
        (b"#DISBATCH BARRIER CHECKED", False, b"CHECKED"),
        (b" \t#DISBATCH Barrier MyKey", False, b"MyKey"),
    ],
)
def test_barriers(directive: bytes, check: bool, key: bytes | None) -> None:
    assert items(b"x\n" + directive) == [
        Task(0, 1, NO_REPEAT, b"x"),
        Barrier(1, 2, check, key, directive.strip()),
    ]


# -- PERENGINE


def test_per_engine_commands_count_for_themselves_and_take_the_affixes() -> None:
    text = b"""#DISBATCH PREFIX (
#DISBATCH SUFFIX )
#DISBATCH PERENGINE START a  b
#DISBATCH perengine stop c
#DISBATCH PERENGINE start d
x"""
    assert items(text) == [
        PerEngine("START", 0, 3, b"(a  b)"),
        PerEngine("STOP", 0, 4, b"(c)"),
        PerEngine("START", 1, 5, b"(d)"),
        Task(0, 6, NO_REPEAT, b"(x)"),
    ]


@pytest.mark.parametrize(
    "first", [b"x", b"#DISBATCH BARRIER", b"#DISBATCH REPEAT 2 x", b"#DISBATCH REPEAT 0"]
)
def test_per_engine_after_the_first_task_is_late(first: bytes) -> None:
    with pytest.raises(TaskFileError, match=r"^Tasks, line 3: .*PERENGINE .*before"):
        items(first + b"\n# comment\n#DISBATCH PERENGINE START y")


# -- errors

BAD_LINES = [
    b"#DISBATCH",
    b"#DISBATCH ",
    b"#DISBATCHBARRIER",
    b"#DISBATCH_BARRIER",
    b"#DISBATCH: BARRIER",
    b"#DISBATCH FOO",
    b"#DISBATCH BARRIERS",
    b"#DISBATCH BARRIER a b",
    b"#DISBATCH BARRIER CHECK a b",
    b"#DISBATCH REPEAT",
    b"#DISBATCH REPEAT x",
    b"#DISBATCH REPEAT -1 x",
    b"#DISBATCH REPEAT 1.5",
    b"#DISBATCH REPEAT 3x",
    b"#DISBATCH REPEAT 3 start",
    b"#DISBATCH REPEAT 3 start x",
    b"#DISBATCH REPEAT 3 start 1.5 x",
    b"#DISBATCH REPEAT 3 step",
    b"#DISBATCH REPEAT 3 step two x",
    b"#DISBATCH REPEAT 3 start 1 start 2 x",
    b"#DISBATCH REPEAT 3 step 1 start 2 step 3 x",
    b"#DISBATCH REPEAT 9999999999999999999999",
    b"#DISBATCH REPEAT 3 start 9999999999999999999999",
    b"#DISBATCH REPEAT 11 step 999999999999999999",
    b"#DISBATCH REPEAT 11 step -999999999999999999 x",
    b"#DISBATCH PERENGINE",
    b"#DISBATCH PERENGINE START",
    b"#DISBATCH PERENGINE STOP  ",
    b"#DISBATCH PERENGINE x",
    b"#DISBATCH PERENGINE RESTART x",
    b"  #DISBATCH nope",
    b"echo \0",
    b"# a comment \0",
    b"#DISBATCH PREFIX \0",
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_named_with_source_number_and_text(line: bytes) -> None:
    stream = TaskStream("dir/My Tasks")
    list(stream.feed(b"true"))
    list(stream.feed(b""))
    with pytest.raises(TaskFileError) as caught:
        stream.feed(line)  # at once, not when its items are asked for
    assert caught.value.line_no == 3
    assert str(caught.value).startswith("dir/My Tasks, line 3: ")
    assert line.decode("utf-8", "replace") in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_long_bad_line_is_cut_in_the_error() -> None:
    with pytest.raises(TaskFileError) as caught:
        items(b"#DISBATCH FOO " + b"x" * 1_000_000)
    assert len(str(caught.value)) < 1000


def test_a_value_of_several_lines_shares_one_number() -> None:
    stream = TaskStream("mygen")
    got = [*stream.feed(b"a"), *stream.feed_part(b"b"), *stream.feed(b"c")]
    assert [(i.task_id, i.line_no) for i in got] == [(0, 1), (1, 1), (2, 2)]


# -- the quick pass finds an error exactly where the slow one does

LINES = st.sampled_from(
    [
        *BAD_LINES,
        b"true",
        b"true",
        b" x\r",
        b"# comment",
        b"   ",
        b"\r",
        b"\x0b",
        b"\x0c#",
        b"\x85",
        b"#",
        b"a #DISBATCH FOO",
        b"# #DISBATCH FOO",
        b"\x0b#DISBATCH FOO",
        b"x#DISBATCH BARRIER",
        b"#DISBATCH BARRIER",
        b"#DISBATCH BARRIER CHECK k\r",
        b" #DISBATCH REPEAT 3 start 1",
        b"#DISBATCH REPEAT 0",
        b"#DISBATCH REPEAT 5 #DISBATCH FOO",
        b"#DISBATCH PREFIX x ",
        b"#DISBATCH SUFFIX",
        b"#DISBATCH PREFIX #",
        b"#DISBATCH PERENGINE START x",
        b"#DISBATCH PERENGINE STOP y\r",
        b"#DISBATCH\tPERENGINE\tSTOP\ty",
    ]
)


def slow(lines: list[bytes]) -> tuple[int, int]:
    """(line number of the first bad line, or 0; number of tasks before it)."""
    stream, tasks = TaskStream("t"), 0
    for line in lines:
        try:
            tasks += sum(isinstance(item, Task) for item in stream.feed(line.removesuffix(b"\r")))
        except TaskFileError as error:
            return error.line_no, tasks
    return 0, tasks


def quick(chunks: list[bytes]) -> int:
    check, before = DirectiveCheck(), 0
    for chunk in chunks:
        bad = check.feed(chunk)
        if bad is not None:
            assert chunk[bad.offset :].startswith(bad.line)
            return before + chunk.count(b"\n", 0, bad.offset) + 1
        before += chunk.count(b"\n")
    return 0


@given(st.lists(LINES, max_size=12), st.sets(st.integers(1, 12)), st.booleans())
@example([b"#DISBATCH PERENGINE START x", b"x", b"#DISBATCH PERENGINE STOP y"], set(), True)
@example([b"x", b"#DISBATCH PERENGINE STOP y"], {1}, True)
@example([b"x\0", b"#DISBATCH FOO"], set(), False)
def test_the_quick_pass_over_any_chunks_agrees_with_the_stream(
    lines: list[bytes], cuts: set[int], newline: bool
) -> None:
    ended = [line + b"\n" for line in lines]
    if ended and not newline:
        ended[-1] = ended[-1][:-1]
    edges = [0, *sorted(c for c in cuts if c < len(lines)), len(lines)]
    chunks = [b"".join(ended[a:b]) for a, b in pairwise(edges)]
    bad_line, tasks = slow(lines)
    assert quick(chunks) == bad_line
    if not bad_line:
        assert sum(count_tasks(chunk) for chunk in chunks) == tasks
