"""The totals of a run in words that can be read in one way only: `500 tasks: 29 ok, 471 failed`. Pure."""

from disbatch.core.plural import counted
from disbatch.core.snapshot import RunSnapshot


def tasks_in_words(number: int, of: int | None = None) -> str:
    """`1 task`, `2 tasks`, `2 of 5 tasks`."""
    if of is None:
        return counted(number, "task")
    return f"{number} of {counted(of, 'task')}"


def ended(ok: int, failed: int, of: int | None = None) -> str:
    """How many tasks have ended, and how."""
    return f"{tasks_in_words(ok + failed, of)}: {ok} ok, {failed} failed"


def totals(s: RunSnapshot, *, of_all: bool = False) -> str:
    """All tasks that have a result, those of earlier runs among them; `of_all`: and how many there will be, if that is known."""
    text = ended(s.ok, s.failed_in_all, s.total if of_all else None)
    return f"{text} ({s.skipped} of them ended in earlier runs)" if s.skipped else text
