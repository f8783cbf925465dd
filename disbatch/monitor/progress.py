"""How a run's messages and progress are worded, whoever shows them. Pure."""

from collections import deque

from disbatch.core.driver_events import Level
from disbatch.core.printable import printable, printable_message
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.totals import totals

RATE_WINDOW_S = 20.0  # rate and time left are those of the last seconds, not of the whole run


def message(text: str, level: Level) -> str:
    """A message of the run as it is shown: who speaks, how bad it is, what it is."""
    return f"disBatch: {'' if level == 'note' else level + ': '}{printable_message(text)}"


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
    parts = [totals(snapshot, of_all=True), f"{snapshot.running} running", f"{rate:.1f}/s"]
    left = seconds_left(snapshot, rate)
    if left is not None:
        parts.append(f"{clock(left)} left")
    if snapshot.barrier:
        parts.append(f"waiting at {printable(snapshot.barrier)}")
    return f"[{clock(snapshot.elapsed_s)}] " + ", ".join(parts)
