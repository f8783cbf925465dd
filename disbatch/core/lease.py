"""The lease under which an engine holds its tasks: its arithmetic, and the engine's side of it.

The driver hands an engine's tasks to another only when `lease_s` has passed since it last sent the engine's own time
back. The engine kills its tasks a margin earlier, counted from that same time of its own: no message that was delayed,
and no clock of another machine, can make the two overlap.
"""

KILL_S = 0.5  # for SIGKILL to be sent to everything and for the processes to be reaped
GUARD_AFTER_S = 0.2  # the engine kills by itself if it can; its guard so much later, within the margin
TELL_GUARD_S = 0.1  # the guard is told of a deadline that has moved by so much: not of every message


def margin_s(lease_s: float) -> float:
    """How long before the driver gives its tasks away an engine kills them."""
    return max(0.5, lease_s / 20) + KILL_S


def heartbeat_s(lease_s: float) -> float:
    """How often an engine speaks, so that it is answered."""
    return max(0.2, lease_s / 10)


def tick_s(lease_s: float) -> float:
    """How often the driver looks for engines that have been silent for too long."""
    return min(1.0, heartbeat_s(lease_s) / 2)


class Lease:
    """Until when an engine may go on. Before its first word from the driver it holds nothing, and has no deadline."""

    def __init__(self, lease_s: float) -> None:
        self._lasts_s = lease_s - margin_s(lease_s)
        self.deadline: float | None = None
        self._extended = False

    def renew(self, now: float, echo: float) -> bool:
        """The driver has given back what was our time when we last spoke. False when even that lease has ended."""
        deadline = echo + self._lasts_s
        if now >= deadline:
            # it was stopped, and begins with what we said first
            return self._extended and not self.over(now)
        if self.deadline is None or deadline > self.deadline:
            self.deadline = deadline
            self._extended = False
        return True

    def extend(self, now: float) -> None:
        """The driver is seen to stand still, on this machine: until it has had a whole lease to answer, it is waited for."""
        if self.deadline is not None:
            self.deadline = max(self.deadline, now + self._lasts_s)
            self._extended = True

    def over(self, now: float) -> bool:
        return self.deadline is not None and now >= self.deadline

    def left_s(self, now: float) -> float:
        """Until the deadline. To be asked only when there is one."""
        assert self.deadline is not None
        return max(0.0, self.deadline - now)

    def end(self) -> None:
        self.deadline = None
        self._extended = False
