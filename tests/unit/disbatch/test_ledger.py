"""Task states: every move allowed or loud, stale attempts told from current ones, counts that always add up."""

import pytest
from disbatch_builders import task
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.errors import IllegalMoveError
from disbatch.core.ledger import ALLOWED_MOVES, Entry, Ledger, TaskState, move
from disbatch.core.model import Barrier

S = TaskState
ALLOWED = {
    (S.NEW, S.READY),
    (S.NEW, S.ASSIGNED),
    (S.NEW, S.SKIPPED),
    (S.READY, S.ASSIGNED),
    (S.ASSIGNED, S.READY),
    (S.ASSIGNED, S.DONE),
    (S.ASSIGNED, S.FAILED),
    (S.ASSIGNED, S.WITHHELD),
    (S.READY, S.WITHHELD),
    (S.WITHHELD, S.READY),
    (S.WITHHELD, S.FAILED),
}


def test_the_table_speaks_of_every_state() -> None:
    assert set(ALLOWED_MOVES) == set(TaskState)


@pytest.mark.parametrize("old", TaskState)
@pytest.mark.parametrize("new", TaskState)
def test_moves(old: TaskState, new: TaskState) -> None:
    entry = Entry(task(7))
    entry.state = old
    if (old, new) in ALLOWED:
        move(entry, new)
        assert entry.state is new
    else:
        with pytest.raises(IllegalMoveError, match="task 7"):
            move(entry, new)
        assert entry.state is old


def ledger(*ids: int) -> Ledger:
    made = Ledger()
    for task_id in ids:
        made.admit(task(task_id))
    return made


def test_a_run_of_tasks_is_taken_in_as_far_as_the_first_item_that_is_none() -> None:
    book = ledger(0)
    barrier = Barrier(3, 9, False, None, b"#DISBATCH BARRIER")
    assert book.admit_run([task(1), task(2), barrier, task(4)]) == 2
    assert [book.assign("a").task.task_id for _ in range(3)] == [0, 1, 2]
    assert book.admit_run([task(4), task(5)]) == 2
    assert book.admit_run([barrier, task(6)]) == book.admit_run([]) == 0
    assert book.unfinished == 5
    book.check_invariants()


def test_tasks_go_out_in_order_and_each_attempt_has_a_number() -> None:
    book = ledger(0, 1)
    first = book.assign("a")
    assert (first.task.task_id, first.attempt, first.engine) == (0, 1, "a")
    book.give_back(first)
    again = book.assign("b")
    assert (again.task.task_id, again.attempt, again.engine) == (0, 2, "b")
    assert book.assign("a").task.task_id == 1


def test_only_the_current_attempt_of_the_engine_that_holds_it_is_current() -> None:
    book = ledger(0)
    entry = book.assign("a")
    book.give_back(entry)
    assert book.current(0, 1, "a") is None  # READY again
    book.assign("b")
    assert book.current(0, 2, "b") is entry
    assert book.current(0, 1, "b") is None
    assert book.current(0, 2, "a") is None
    assert book.current(9, 1, "b") is None
    book.finish(entry, failed=False)
    assert book.current(0, 2, "b") is None


def test_counts() -> None:
    book = ledger(0, 1, 2)
    book.skip(failed=False)
    book.skip(failed=True)
    book.finish(book.assign("a"), failed=True)
    book.finish(book.assign("a"), failed=False)
    assert (book.done, book.failed, book.skipped, book.skipped_failed) == (1, 1, 2, 1)
    assert book.age_failed == 2  # skipped failures count for CHECK
    assert (book.unfinished, book.assigned) == (1, 0)
    book.new_age()
    assert (book.age_failed, book.failed) == (0, 1)


def test_a_finished_task_leaves_nothing_behind() -> None:
    book = Ledger()
    for task_id in range(1000):
        book.admit(task(task_id))
        book.finish(book.assign("a"), failed=False)
    assert not book.entries and not book.ready


@given(
    st.lists(st.sampled_from(["admit", "assign", "back", "done", "fail", "skip"]), max_size=60), st.randoms()
)
def test_whatever_happens_the_invariants_hold(steps: list[str], random) -> None:
    book, next_id, assigned = Ledger(), 0, []
    for step in steps:
        if step == "admit":
            book.admit(task(next_id))
            next_id += 1
        elif step == "skip":
            book.skip(failed=random.random() < 0.5)
        elif step == "assign" and book.ready:
            assigned.append(book.assign(random.choice("ab")))
        elif step in ("back", "done", "fail") and assigned:
            entry = assigned.pop(random.randrange(len(assigned)))
            book.give_back(entry) if step == "back" else book.finish(entry, failed=step == "fail")
        book.check_invariants()
        assert book.assigned == len(assigned)
        assert book.done + book.failed + book.unfinished == next_id


def test_the_check_itself_finds_a_wrong_count() -> None:
    book = ledger(0)
    book.ready.popleft()
    with pytest.raises(AssertionError):
        book.check_invariants()
