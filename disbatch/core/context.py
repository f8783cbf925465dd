"""A set of machines with one label, and how many more tasks it may be given. Part of the fleet."""

from disbatch.core.printable import is_plain, printable

NO_LIMIT = 1 << 60
# of a label: what a column of a table shows, and a person can tell apart
LABEL_CHARS = 64


def label_fault(label: str) -> str:
    """Return what is wrong with a label, for a message, or nothing."""
    if len(label) > LABEL_CHARS:
        shown = printable(label[:LABEL_CHARS])
        return f"the label {shown}… is too long: at most {LABEL_CHARS} characters; give a shorter one with -l"
    if not is_plain(label):
        return f"the label {printable(label)} has control characters; give another one with -l"
    return ""


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
