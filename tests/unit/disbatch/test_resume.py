"""Which tasks an earlier run has done: every rule of the format page's section on resuming."""

import pytest
from disbatch_builders import task

from disbatch.core.errors import StatusFileError
from disbatch.core.model import Task
from disbatch.core.resume import Fate, Place, ResumeTable, Rows, Verdict, digest, row_fate, weight
from disbatch.core.status import command_text


class Table:
    """A ResumeTable, and the rows behind it."""

    def __init__(self, *, retry: bool = False, by_id: bool = False) -> None:
        self.table = ResumeTable(retry_failed=retry, by_id_only=by_id)
        self.rows: dict[Place, tuple[int, int, str]] = {}

    def add(
        self, row: Task, fate: Fate = Fate.DONE, *, file_no: int = 0, written: str | None = None
    ) -> Place:
        text = command_text(row.command) if written is None else written
        place = Place(file_no, len(self.rows) * 100)
        self.rows[place] = (row.line_no, row.repeat_index, text)
        row_digest = digest(row.line_no, row.repeat_index, text.encode())
        self.table.add(Rows([row.task_id], [weight(fate, place.file_no, place.offset)], [row_digest]))
        return place

    def judge(self, what: Task) -> tuple[Verdict, Place | None]:
        return self.table.judge(what, self.rows.__getitem__)

    def verdict(self, what: Task) -> Verdict:
        return self.judge(what)[0]


@pytest.mark.parametrize(
    ("flags", "pid", "code", "fate"),
    [
        (b"    ", 5, 0, Fate.DONE),
        (b" OE ", 5, 0, Fate.DONE),
        (b"   S", 5, 0, Fate.DONE),
        (b"", 5, 0, Fate.DONE),
        (b"R   ", 5, 1, Fate.FAILED),
        (b"R  S", 5, -9, Fate.FAILED),
        (b"R   ", -1, 7, Fate.FAILED),
        (b"R   ", -1, -100, Fate.LOST),
        (b"   P", 5, 0, Fate.UNKNOWN),
        (b"R  P", 5, 1, Fate.UNKNOWN),
        (b"B    ", 5, 0, Fate.UNKNOWN),
        (b"C    ", 5, 0, Fate.UNKNOWN),
        (b"   Z", 5, 0, Fate.UNKNOWN),
    ],
)
def test_what_a_row_says(flags: bytes, pid: int, code: int, fate: Fate) -> None:
    assert row_fate(flags, pid, code) is fate


def test_finished_tasks_are_skipped_and_others_run() -> None:
    t = Table()
    place = t.add(task(1))
    assert t.judge(task(1)) == (Verdict.SKIP_DONE, place)
    assert t.judge(task(0)) == (Verdict.RUN, None)
    assert t.judge(task(2)) == (Verdict.RUN, None)
    assert t.judge(task(10**12)) == (Verdict.RUN, None)


def test_failed_tasks_count_as_done_unless_they_are_retried() -> None:
    for retry, expected in ((False, Verdict.SKIP_FAILED), (True, Verdict.RUN)):
        t = Table(retry=retry)
        t.add(task(0), Fate.FAILED)
        assert t.verdict(task(0)) is expected


@pytest.mark.parametrize("retry", [False, True])
def test_lost_tasks_are_run_again_in_any_case(retry: bool) -> None:
    t = Table(retry=retry)
    t.add(task(0), Fate.LOST)
    assert t.judge(task(0)) == (Verdict.RUN, None)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("files", [(0, 0), (0, 1), (1, 0)])
@pytest.mark.parametrize("retry", [False, True])
@pytest.mark.parametrize("other", [Fate.FAILED, Fate.LOST])
def test_a_success_wins_in_any_order_and_file(
    order: tuple[int, int], files: tuple[int, int], retry: bool, other: Fate
) -> None:
    t = Table(retry=retry)
    places = {}
    for which in order:
        places[which] = t.add(task(0), (Fate.DONE, other)[which], file_no=files[which])
    assert t.judge(task(0)) == (Verdict.SKIP_DONE, places[0])


def test_of_two_failures_the_later_row_is_the_one_that_is_copied() -> None:
    t = Table()
    t.add(task(0), Fate.FAILED)
    later = t.add(task(0), Fate.FAILED, file_no=1)
    assert t.judge(task(0)) == (Verdict.SKIP_FAILED, later)


@pytest.mark.parametrize(
    ("now", "recorded"),
    [
        (task(3, b"echo a"), task(3, b"echo b")),
        (task(3, b"echo a", index=1), task(3, b"echo a", index=2)),
        (task(3, b"echo a", index=1), task(3, b"echo a")),
        (task(3, b"echo a"), task(3, b"echo a ")),
    ],
)
def test_a_mismatch_names_task_line_both_commands_and_the_way_out(now: Task, recorded: Task) -> None:
    t = Table()
    t.add(recorded)
    with pytest.raises(StatusFileError) as caught:
        t.judge(now._replace(line_no=77))
    text = str(caught.value)
    assert "task 3" in text and "line 77" in text and "--force-resume" in text
    assert now.command.decode() in text and recorded.command.decode() in text
    assert caught.value.exit_code == 2


def test_a_mismatch_of_a_failed_or_lost_task_is_one_too() -> None:
    for fate in (Fate.FAILED, Fate.LOST):
        t = Table(retry=True)
        t.add(task(0, b"echo b"), fate)
        with pytest.raises(StatusFileError):
            t.judge(task(0, b"echo a"))


def test_force_resume_goes_by_id_alone() -> None:
    t = Table(by_id=True)
    t.add(task(0, b"echo b", index=4))
    assert t.verdict(task(0, b"echo a")) is Verdict.SKIP_DONE


def test_a_line_that_moved_is_counted_and_no_error() -> None:
    t = Table()
    t.add(task(0, line_no=1))
    t.add(task(1, line_no=2))
    assert t.verdict(task(0, line_no=1)) is Verdict.SKIP_DONE
    assert t.verdict(task(1, line_no=9)) is Verdict.SKIP_DONE
    assert t.table.moved == 1


@pytest.mark.parametrize(
    "written",
    ["'printf \"x\\\\n\"'", '"printf \\"x\\\\n\\""'],
)
def test_the_quoted_command_of_the_manual_matches(written: str) -> None:
    t = Table()
    t.add(task(0, b'printf "x\\n"'), written=written)
    assert t.verdict(task(0, b'printf "x\\n"')) is Verdict.SKIP_DONE


def test_a_command_that_is_a_quoted_word_matches_itself() -> None:
    t = Table()
    t.add(task(0, b"'./my prog'"))
    assert t.verdict(task(0, b"'./my prog'")) is Verdict.SKIP_DONE


def test_a_command_that_is_not_utf8_matches() -> None:
    t = Table()
    t.add(task(0, b"echo \xff"))
    assert t.verdict(task(0, b"echo \xff")) is Verdict.SKIP_DONE
    with pytest.raises(StatusFileError):
        t.judge(task(0, b"echo \xfe"))


def test_an_id_far_out_costs_no_memory_and_is_found() -> None:
    t = Table()
    far = task(2**60, b"x", line_no=1)
    place = t.add(far)
    near = t.add(task(5))
    assert t.judge(far) == (Verdict.SKIP_DONE, place)
    assert t.judge(task(5)) == (Verdict.SKIP_DONE, near)
    assert t.table.last_task_id == 2**60


@pytest.mark.parametrize("order", [(Fate.DONE, Fate.FAILED), (Fate.FAILED, Fate.DONE)])
def test_a_success_wins_far_out_too(order: tuple[Fate, Fate]) -> None:
    t = Table()
    places = {fate: t.add(task(2**60, b"x", line_no=1), fate) for fate in order}
    assert t.judge(task(2**60, b"x", line_no=1)) == (Verdict.SKIP_DONE, places[Fate.DONE])


def test_more_files_than_a_byte_can_count() -> None:
    t = Table()
    t.add(task(0), Fate.FAILED, file_no=3)
    place = t.add(task(0), Fate.DONE, file_no=300)
    assert t.judge(task(0)) == (Verdict.SKIP_DONE, place)
