"""The overall state of a run in a few words and one row of bars. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from disbatch.core.driver_events import Ending
from disbatch.core.plural import noun
from disbatch.core.printable import printable
from disbatch.core.snapshot import RunSnapshot, Sample
from disbatch.core.totals import totals
from disbatch.monitor.progress import clock, seconds_left
from disbatch.monitor.words import count, rate

COMPLETE = Ending.COMPLETE.text


@dataclass(frozen=True, slots=True)
class Word:
    """A figure with its name. `tone` says how it is meant: "", "good", "bad", "note"."""

    text: str
    tone: str = ""


def state_of(snapshot: RunSnapshot) -> Word:
    """What the run is doing, in a word or a few."""
    s = snapshot
    if s.over and s.state == COMPLETE and s.failed_in_all:
        return Word(f"ended: {totals(s)}", "bad")
    if s.over:
        return Word(f"ended: {s.state}", "good" if s.state == COMPLETE else "bad")
    if s.state != "running":
        return Word(f"ending: {s.state}", "note")
    if s.barrier:
        before = s.running + s.ready
        where = f"{count(before)} {noun(before, 'task')} before" if before else "at"
        return Word(f"{where} a barrier: {printable(s.barrier)}", "note")
    if not s.slots:
        return Word("waiting for engines", "note")
    return Word("running", "good")


def waiting(snapshot: RunSnapshot) -> int | None:
    """Tasks that are neither finished nor running; None while the number of tasks is not known."""
    s = snapshot
    return None if s.total is None else max(0, s.total - s.finished - s.running)


def figures(snapshot: RunSnapshot) -> list[Word]:
    """The counts, and how long it will take."""
    s = snapshot
    words = [Word(f"{count(s.ok)} ok", "good" if s.ok else "")]
    words.append(Word(f"{count(s.failed_in_all)} failed", "bad" if s.failed_in_all else ""))
    if s.skipped:
        words.append(Word(f"{count(s.skipped)} skipped"))
    if s.over:
        left = waiting(s)
        if left:
            words.append(Word(f"{count(left)} not run", "note"))
        words.append(Word(f"{clock(s.elapsed_s)} in all"))
        return words
    words.append(Word(f"{count(s.running)}/{count(s.slots)} slots busy"))
    left = waiting(s)
    if left is not None:
        words.append(Word(f"{count(left)} waiting"))
    elif s.ready:
        words.append(Word(f"{count(s.ready)} or more waiting"))
    words.append(Word(rate(s.rate)))
    seconds = seconds_left(s, s.rate)
    words.append(Word(f"{clock(seconds)} left" if seconds is not None and left != 0 else ""))
    return [word for word in words if word.text]


def share(snapshot: RunSnapshot) -> float | None:
    """How much of the run is done, from 0 to 1; None while that cannot be known."""
    if not snapshot.total:
        return None
    return min(1.0, snapshot.finished / snapshot.total)


def throughput(history: Sequence[Sample], points: int) -> list[float]:
    """Tasks per second over the run, the oldest first, at so many points at most.

    Points are made of as many samples each, counted from the start: so what has been drawn stays as it was.
    """
    gaps = len(history) - 1
    if gaps < 1 or points < 1:
        return []
    each = -(-gaps // points)
    marks = [*range(0, gaps, each), gaps]
    if len(marks) > 2 and marks[-1] - marks[-2] < each:
        del marks[-1]  # the last point is not complete yet
    rates = []
    for first, second in pairwise(history[mark] for mark in marks):
        seconds = second.elapsed_s - first.elapsed_s
        rates.append(max(0, second.ended - first.ended) / seconds if seconds > 0 else 0.0)
    return rates
