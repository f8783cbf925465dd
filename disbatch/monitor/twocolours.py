"""The bar of a run at a terminal: green for what went well, red for what failed. Imported with rich, so only when it is drawn."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.progress import BarColumn, ProgressColumn, Task
from rich.segment import Segment
from rich.style import Style

LEAST = 4  # columns


def lengths(width: int, finished: float, failed: float, total: float) -> tuple[int, int]:
    """How many columns are green and red. One failure shows, and so does one success beside failures."""
    filled = min(width, int(width * finished / total)) if total else width
    bad = round(width * failed / total) if total else 0
    if failed:
        filled = max(filled, 1)
        bad = max(1, min(bad, filled))
        if failed < finished and bad == filled > 1:
            bad -= 1
    return filled - bad, bad


class ResultsBar:
    """What rich draws for one run."""

    def __init__(self, finished: float, failed: float, total: float) -> None:
        self._counts = (finished, failed, total)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        width = options.max_width
        good, bad = lengths(width, *self._counts)
        stroke = "-" if options.ascii_only else "━"
        rest = width - good - bad
        for count, colour in ((good, "green"), (bad, "red"), (rest, "bright_black")):
            if count:
                yield Segment(stroke * count, Style(color=colour))

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(LEAST, options.max_width)


class ResultsColumn(ProgressColumn):
    """In place of rich's own column, which knows one colour, and is taken where the number of tasks is not known."""

    def __init__(self) -> None:
        super().__init__()
        self._unknown = BarColumn(bar_width=None)

    def render(self, task: Task) -> RenderableType:
        if task.total is None:
            return self._unknown.render(task)
        return ResultsBar(task.completed, task.fields["failed"], task.total)
