"""A set of machines with one label, and how many more tasks it may be given. Part of the fleet."""

NO_LIMIT = 1 << 60


class Context:
    """One set of machines. `charged` counts the tasks that its engines hold or have ended, `ran` those that had ended
    there under a driver before this one."""

    __slots__ = ("charged", "cid", "finished", "label", "task_limit")

    def __init__(self, label: str, task_limit: int = 0, cid: str = "", ran: int = 0) -> None:
        self.label = label
        self.task_limit = task_limit  # 0: none
        self.cid = cid  # empty for the driver's own
        self.charged = ran
        self.finished = ran

    @property
    def left(self) -> int:
        """How many more tasks it may be given."""
        return self.task_limit - self.charged if self.task_limit else NO_LIMIT
