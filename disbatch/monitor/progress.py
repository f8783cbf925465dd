"""What is shown while a run lasts: a bar at a terminal, a plain line now and then elsewhere, or nothing."""

import sys
from collections import deque
from typing import IO, TYPE_CHECKING

from disbatch.core.driver_events import Level
from disbatch.core.snapshot import RunSnapshot

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

BAR_REFRESH_S = 0.25  # what looks alive
PLAIN_REFRESH_S = 30.0  # seldom enough for a log
_STYLES: dict[Level, str | None] = {"note": None, "warning": "yellow", "error": "red"}
RATE_WINDOW_S = 20.0  # rate and time left are those of the last seconds, not of the whole run


def message(text: str, level: Level) -> str:
    """A message of the run as it is shown: who speaks, how bad it is, what it is."""
    return f"disBatch: {'' if level == 'note' else level + ': '}{text}"


def say_line(text: str, level: Level) -> None:
    """One message of the run, on standard error."""
    print(message(text, level), file=sys.stderr, flush=True)


class Pace:
    """Tasks per second over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def rate(self, snapshot: RunSnapshot) -> float:
        """Finished tasks per second; 0 before there is anything to tell."""
        run = snapshot.done + snapshot.failed
        self._seen.append((snapshot.elapsed_s, run))
        while len(self._seen) > 2 and self._seen[1][0] < snapshot.elapsed_s - RATE_WINDOW_S:
            self._seen.popleft()
        seconds = snapshot.elapsed_s - self._seen[0][0]
        if seconds <= 0:
            return run / snapshot.elapsed_s if snapshot.elapsed_s > 0 else 0.0
        return (run - self._seen[0][1]) / seconds


def seconds_left(snapshot: RunSnapshot, rate: float) -> float | None:
    """At this rate; None while the number of tasks or the rate is not known, and when nothing is left."""
    if snapshot.total is None or rate <= 0 or snapshot.finished >= snapshot.total:
        return None
    return (snapshot.total - snapshot.finished) / rate


def clock(seconds: float) -> str:
    """Hours, minutes and seconds as 1:02:03, or 2:03."""
    whole = int(seconds + 0.5)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def plain_line(snapshot: RunSnapshot, rate: float) -> str:
    """The state of a run in one line."""
    of = f" of {snapshot.total}" if snapshot.total is not None else ""
    parts = [
        f"{snapshot.finished}{of} tasks finished",
        f"{snapshot.failed} failed",
        f"{snapshot.running} running",
    ]
    if snapshot.skipped:
        parts.insert(2, f"{snapshot.skipped} skipped")
    parts.append(f"{rate:.1f}/s")
    left = seconds_left(snapshot, rate)
    if left is not None:
        parts.append(f"{clock(left)} left")
    if snapshot.barrier:
        parts.append(f"waiting at {snapshot.barrier}")
    return f"[{clock(snapshot.elapsed_s)}] " + ", ".join(parts)


class QuietView:
    """Warnings and errors only."""

    refresh_s = 3600.0

    def update(self, snapshot: RunSnapshot) -> None:
        pass

    def say(self, text: str, level: Level) -> None:
        if level != "note":
            say_line(text, level)

    def close(self) -> None:
        pass


class PlainView:
    """A line every half minute."""

    refresh_s = PLAIN_REFRESH_S

    def __init__(self) -> None:
        self._pace = Pace()
        self._last = -PLAIN_REFRESH_S

    def update(self, snapshot: RunSnapshot) -> None:
        rate = self._pace.rate(snapshot)
        if (
            snapshot.elapsed_s - self._last >= PLAIN_REFRESH_S * 0.9
            and snapshot.elapsed_s >= PLAIN_REFRESH_S * 0.9
        ):
            self._last = snapshot.elapsed_s
            print(plain_line(snapshot, rate), file=sys.stderr, flush=True)

    def say(self, text: str, level: Level) -> None:
        say_line(text, level)

    def close(self) -> None:
        pass


class BarView:
    """A bar at a terminal, drawn by rich. rich is imported with the first drawing: a short run never pays for it."""

    refresh_s = BAR_REFRESH_S

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._pace = Pace()
        self._progress: Progress | None = None
        self._bar: TaskID | None = None

    def update(self, snapshot: RunSnapshot) -> None:
        if self._progress is None:
            if snapshot.elapsed_s < self.refresh_s:
                return
            self._open()
        assert self._progress is not None and self._bar is not None
        rate = self._pace.rate(snapshot)
        left = seconds_left(snapshot, rate)
        skipped = f" [dim]{snapshot.skipped} skipped[/]" if snapshot.skipped else ""
        failed = f" [red]{snapshot.failed} failed[/]" if snapshot.failed else " 0 failed"
        where = "before" if snapshot.running or snapshot.ready else "at"
        barrier = f" [yellow]{where} a barrier[/]" if snapshot.barrier else ""
        of = f"/{snapshot.total}" if snapshot.total is not None else ""
        self._progress.update(
            self._bar,
            completed=snapshot.finished,
            total=snapshot.total,
            figures=f"{snapshot.finished}{of}{failed}{skipped} {snapshot.running} running {rate:.0f}/s{barrier}",
            clocks=clock(snapshot.elapsed_s) + (f" [dim]{clock(left)} left[/]" if left is not None else ""),
        )
        self._progress.refresh()

    def say(self, text: str, level: Level) -> None:
        if self._progress is not None:
            self._progress.console.print(
                message(text, level),
                style=_STYLES[level],
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        else:
            say_line(text, level)

    def close(self) -> None:
        if self._progress is not None:
            self._progress.stop()

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(file=self._stream)
        columns = (
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}"),
            TextColumn("{task.fields[clocks]}"),
        )
        self._progress = Progress(
            *columns, console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
        )
        self._bar = self._progress.add_task("", total=None, figures="", clocks="")
        self._progress.start()


RunView = QuietView | PlainView | BarView


def choose_view(*, quiet: bool) -> RunView:
    """The view that fits where standard error goes."""
    if quiet:
        return QuietView()
    return BarView(sys.stderr) if sys.stderr.isatty() else PlainView()
