"""How far ahead an engine holds tasks: enough that short ones never wait for a message, and none when slots stand still.

Part of the engine core. What is held ahead of slots that do not become free is given back: it may start elsewhere, and
later tasks of the list must not overtake it for long.

Simulated with engines of 2 and 8 slots and lists of 40 to 400 tasks of 10 ms to 5 s, 40 seeds each, against the greedy
schedule: the mean of durations in place of the pace gave makespans up to 1.37 of it, as long tasks block slots while short
ones still make the mean; what waited was then started seconds after its successors.
"""

from collections import deque
from math import exp

from disbatch.core.messages import REPORT_S

AHEAD_S = (
    0.05  # work held ahead: longer makes mixed durations wait beside free slots, shorter lets slots run dry
)
ONE_AHEAD_S = 0.2  # seconds a slot takes for a task below which each has one more at hand; above, a message costs nothing
AHEAD_MAX = 1000  # tasks; no duration is short enough to need more
STILL_S = 0.06  # that a task may wait behind running ones, or half as long again as slots take for one
WINDOW_S = 0.25  # over which the pace is taken: several reports, and short enough to notice a first long task


class Ahead:
    def __init__(self, slots: int) -> None:
        self._slots = slots
        self.every_s = REPORT_S  # between reports, as the driver wants it
        self._begun_at: float | None = None  # when the first task was started
        self._ended = 0.0  # tasks, older ones counting less and less
        self._ended_at = 0.0  # when that was brought up to date
        self._pace = 0.0  # tasks per second
        self._quickest_s = float("inf")  # that a task took; older ones count less and less, so that it grows
        self._still = False  # since tasks were given back, no other has ended
        self._waiting: deque[list[float]] = deque()  # batches that wait: how many, since when

    @property
    def demand(self) -> int:
        """How many unfinished tasks the engine wants to hold."""
        slots = self._slots
        if not self._pace or self._still:
            return slots
        # Tasks that take as long as each other end together: so many in a moment do not mean as many in the next. More than
        # this no slots can do: without it such engines asked for twice of what they could run, and gave it back.
        pace = min(self._pace, slots / self._quickest_s)
        ahead = min(AHEAD_MAX, int(self._ahead_s * pace))
        # each slot then has its next one at hand
        return slots + (max(ahead, slots) if slots / pace < ONE_AHEAD_S else ahead)

    @property
    def patience_s(self) -> float:
        """How long tasks may wait behind running ones before they are given back."""
        return max(1.2 * self._ahead_s, 1.5 * self._per_task_s) if self._pace else STILL_S

    def enough(self, waiting: int) -> bool:
        """Whether the slots stay busy while reports gather, with so many tasks at hand."""
        if self.every_s <= REPORT_S:
            return waiting >= self._slots
        return waiting > AHEAD_S * self._pace

    @property
    def _ahead_s(self) -> float:
        """Where reports are to come less often, a driver has many engines: what is at hand lasts until the next."""
        return max(AHEAD_S, 1.25 * self.every_s) if self.every_s > REPORT_S else AHEAD_S

    @property
    def _window_s(self) -> float:
        return max(WINDOW_S, self.every_s)

    @property
    def _per_task_s(self) -> float:
        return self._slots / self._pace

    def came(self, now: float, tasks: int) -> None:
        """So many more tasks wait."""
        if tasks:
            self._waiting.append([tasks, now])

    def started(self, now: float, tasks: int) -> None:
        """The oldest of those that waited wait no more."""
        if self._begun_at is None:
            self._begun_at = self._ended_at = now
        while tasks and self._waiting:
            taken = min(tasks, self._waiting[0][0])
            self._waiting[0][0] -= taken
            tasks -= int(taken)
            if not self._waiting[0][0]:
                self._waiting.popleft()

    def ended(self, now: float, tasks: int, quickest_s: float) -> None:
        """So many tasks have ended, of which the shortest took so long."""
        self._age(now)
        self._ended += tasks
        self._quickest_s = max(1e-6, min(self._quickest_s, quickest_s))
        assert self._begun_at is not None
        window_s = self._window_s
        seen_s = window_s * (1.0 - exp(-max(now - self._begun_at, 1e-3) / window_s))
        self._pace = self._ended / seen_s
        self._still = False

    def too_long(self, now: float) -> bool:
        """Whether the oldest that waits has waited too long; from then on nothing is wanted ahead until a task ends."""
        if not self._waiting or now - self._waiting[0][1] < 0.99 * self.patience_s:
            return False
        self._still = True
        return True

    def gave_back(self) -> None:
        """Nothing waits any more."""
        self._waiting.clear()

    def _age(self, now: float) -> None:
        fade = exp(-(now - self._ended_at) / self._window_s)
        self._ended *= fade
        self._quickest_s = self._quickest_s / fade if fade else float("inf")
        self._ended_at = now
