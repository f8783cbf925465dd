"""What goes into which mail, and when the next one is due. Pure: sending it belongs to `runtime.mail`.

Never more than one mail is under way; what finishes meanwhile goes into the next. What could not be sent is told again,
together with what came since, so that however a mail server behaves, the mails that arrive tell everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from disbatch.core.notable import Batch, is_task
from disbatch.core.printable import printable
from disbatch.core.status import StatusRecord

SHOWN = 20  # tasks, and as many failures, that a mail lists one by one; the counts are of all
_COMMAND_CHARS = 200  # of a task's command: enough to know it again
_LONGEST_WAIT_FACTOR = 32  # between tries, times the shortest


@dataclass(slots=True)
class Parcel:
    """What a mail tells: tasks that finished since the mail before, or, in the first one, since the start."""

    since_s: float
    finished: int = 0
    failed: int = 0
    skipped: int = 0
    fine: list[StatusRecord] = field(default_factory=list)  # the first of those that went well
    failures: list[StatusRecord] = field(default_factory=list)  # the first of those that failed
    first: bool = False  # no mail has gone before

    def add(self, batch: Batch) -> None:
        self.skipped += batch.skipped
        for row in batch.rows:
            if is_task(row):
                self.finished += 1
                self.failed += row.returncode != 0
                shown = self.failures if row.returncode else self.fine
                if len(shown) < SHOWN:
                    shown.append(row)

    def followed_by(self, later: "Parcel") -> "Parcel":
        """Both as one."""
        return Parcel(
            self.since_s,
            self.finished + later.finished,
            self.failed + later.failed,
            self.skipped + later.skipped,
            (self.fine + later.fine)[:SHOWN],
            (self.failures + later.failures)[:SHOWN],
            self.first,
        )


class Mailbag:
    """Counts towards the next mail. `every` is --mailFreq; 0 means that only the last mail is ever due."""

    def __init__(self, now: float, every: int, interval_s: float, retry_s: float) -> None:
        self._every = every
        self._interval_s = interval_s
        self._retry_s = retry_s
        self._collected = Parcel(now, first=True)
        self._under_way: Parcel | None = None
        self._not_before = now
        self._wait_s = retry_s
        self._causes: set[str] = set()

    @property
    def under_way(self) -> bool:
        return self._under_way is not None

    def add(self, batch: Batch) -> None:
        self._collected.add(batch)

    def due(self, now: float) -> float | None:
        """Seconds until a mail has to go, 0 for now; None while nothing, or an earlier mail, is waited for."""
        if self._under_way or not self._every or self._collected.finished < self._every:
            return None
        return max(0.0, self._not_before - now)

    def take(self, now: float) -> Parcel:
        """What the mail tells that is sent now. `delivered` or `failed` has to follow."""
        if self._under_way:
            raise AssertionError("a mail is under way already")
        self._under_way, self._collected = self._collected, Parcel(now)
        return self._under_way

    def delivered(self, now: float) -> bool:
        """Whether this is news, as the mail before had failed."""
        recovered = self._wait_s != self._retry_s
        self._under_way, self._wait_s = None, self._retry_s
        self._not_before = now + self._interval_s
        return recovered

    def is_new(self, cause: str) -> bool:
        """Whether this cause of trouble is worth a warning: each one once, and not without end."""
        if cause in self._causes or len(self._causes) >= SHOWN:
            return False
        self._causes.add(cause)
        return True

    def failed(self, now: float) -> None:
        assert self._under_way
        self._collected = self._under_way.followed_by(self._collected)
        self._under_way = None
        self._not_before = now + self._wait_s
        self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_FACTOR * self._retry_s)


def task_lines(rows: Sequence[StatusRecord], count: int) -> list[str]:
    """A paragraph of tasks, of which `rows` are the first."""
    lines = []
    for row in rows:
        lines.append(f"  task {row.task_id}, line {row.line_no}, on {printable(row.node)}: {_how(row)}")
        lines.append(f"      {plain(row.command, _COMMAND_CHARS)}")
        error = plain(row.err_snippet.strip().rpartition("\n")[2], _COMMAND_CHARS)
        if row.returncode and error:
            lines.append(f"      {error}")
    if count > len(rows):
        lines.append(f"  and {count - len(rows)} more")
    return lines


def plain(text: str, limit: int) -> str:
    """As one printable line of bounded length: what tasks are called and say may be anything."""
    line = printable(text[: limit + 1])
    return line if len(line) <= limit else line[:limit] + "…"


def _how(row: StatusRecord) -> str:
    if row.returncode < 0:
        return f"signal {-row.returncode} after {row.elapsed_s:.1f} s"
    return f"exit code {row.returncode} after {row.elapsed_s:.1f} s"
