"""How many tasks of an executor may be in disBatch's hands. Pure. What is not can still be cancelled."""

from typing import Any

PREFETCH_S = (
    0.15  # work ahead of the slots: a task's way here and back takes some 0.1 s (core.engine: REPORT_S)
)
PREFETCH_MAX = 2000  # tasks; no duration is short enough to need more
PACE = 0.2  # weight of a new duration in the running mean
_SHORTEST_S = 0.001  # what a task takes at least, as far as three decimals can tell


class Handover:
    """`limit` follows the slots of all engines, those that join later too, and the durations of tasks; without `prefetch`
    the slots alone."""

    def __init__(self, *, prefetch: bool = True) -> None:
        self._prefetch = prefetch
        self.slots = 0  # until the first snapshot, when disBatch is there
        self._mean_s = 0.0

    @property
    def limit(self) -> int:
        """Tasks that may be handed over and not finished. Never fewer than the slots."""
        if not (self._mean_s and self._prefetch):
            return self.slots
        return self.slots + min(PREFETCH_MAX, int(PREFETCH_S * self.slots / self._mean_s))

    def saw_status(self, snapshot: dict[str, Any]) -> None:
        """A snapshot of the run (`core.snapshot`)."""
        self.slots = snapshot["slots"]

    def saw_task(self, elapsed_s: float) -> None:
        """A task has finished."""
        elapsed_s = max(elapsed_s, _SHORTEST_S)
        self._mean_s = elapsed_s if not self._mean_s else self._mean_s + PACE * (elapsed_s - self._mean_s)
