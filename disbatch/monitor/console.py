"""What a run shows while it lasts: a bar at a terminal, a plain line now and then elsewhere, or warnings alone.

Everything goes through an `OutputStream`, so that no view ever holds the run up.
"""

import io
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from disbatch.core.driver_events import Level
from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.progress import Pace, clock, message, plain_line, seconds_left
from disbatch.output import END_WAIT_S, OutputStream

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

# often enough to look alive
BAR_REFRESH_S = 0.25
# seldom enough for a log
PLAIN_REFRESH_S = 30.0
# for the screen to be tidied up before Ctrl-Z stops this process
SUSPEND_S = 0.5
DEFAULT_COLUMNS = 80
_COLOURS: dict[Level, str] = {"warning": "\x1b[33m", "error": "\x1b[31m"}
_NO_COLOUR = "\x1b[0m"
# terminals that take escape sequences, where no terminfo entry says so
_KNOWN_TERMINALS = ("xterm", "screen", "tmux", "vt", "linux", "rxvt", "ansi", "cygwin", "putty", "konsole", "gnome",
    "alacritty", "foot", "kitty", "wezterm", "st-", "iterm", "eterm")  # fmt: skip


class QuietView:
    """Warnings and errors only. The other views differ in what `update` shows."""

    refresh_s = 3600.0
    redraws = False

    def __init__(self, stream: OutputStream) -> None:
        self._stream = stream

    def begin(self, on_failure: Callable[[str], None] | None = None) -> None:
        """The loop runs, and no process is forked any more. `on_failure` is called in another thread, once at most."""
        self._stream.use_thread(on_failure)

    def update(self, snapshot: RunSnapshot) -> None:
        """Show the state of the run."""

    def say(self, text: str, level: Level) -> None:
        if level != "note":
            self._stream.say(message(text, level))

    def suspend(self) -> None:
        """Leave the terminal as a shell wants it: this process is about to be stopped."""

    def close(self) -> float:
        """Wait until all is written, for END_WAIT_S at most. Return how many seconds of these are left."""
        until = time.monotonic() + END_WAIT_S
        self._stream.flush(END_WAIT_S)
        return max(until - time.monotonic(), 0.0)


class PlainView(QuietView):
    """A line every half minute."""

    refresh_s = PLAIN_REFRESH_S

    def __init__(self, stream: OutputStream) -> None:
        super().__init__(stream)
        self._pace = Pace()
        self._last_s = 0.0

    def update(self, snapshot: RunSnapshot) -> None:
        rate = self._pace.rate(snapshot)
        if snapshot.elapsed_s - self._last_s >= PLAIN_REFRESH_S * 0.9:
            self._last_s = snapshot.elapsed_s
            self._stream.say(plain_line(snapshot, rate))

    def say(self, text: str, level: Level) -> None:
        self._stream.say(message(text, level))


class TerminalView(PlainView):
    """A bar on a terminal while this process is in its foreground; plain lines while it is a background job."""

    refresh_s = BAR_REFRESH_S
    redraws = True

    def __init__(self, stream: OutputStream) -> None:
        super().__init__(stream)
        self._bar = _Bar(stream.fd)

    def update(self, snapshot: RunSnapshot) -> None:
        if self._stream.failure:
            return
        if not in_foreground(self._stream.fd):
            self._stream.draw("")
            super().update(snapshot)
        elif snapshot.elapsed_s >= self.refresh_s:
            self._stream.draw(self._bar.frame(snapshot))

    def say(self, text: str, level: Level) -> None:
        colour = "" if os.environ.get("NO_COLOR") else _COLOURS.get(level, "")
        words = message(text, level)
        self._stream.say(f"{colour}{words}{_NO_COLOUR}" if colour else words)

    def suspend(self) -> None:
        self._stream.draw("")
        self._stream.flush(SUSPEND_S)

    def close(self) -> float:
        self._stream.keep_status()
        return super().close()


class _Bar:
    """Progress as one line for a terminal, made by rich. rich is imported with the first one: a short run never pays
    for it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._pace = Pace()
        self._console: Console | None = None

    def frame(self, snapshot: RunSnapshot) -> str:
        """Return the line, with escape sequences for its colours."""
        if self._console is None:
            self._open()
        assert self._console is not None
        rate = self._pace.rate(snapshot)
        left = seconds_left(snapshot, rate)
        self._progress.update(
            self._task,
            completed=snapshot.finished,
            total=snapshot.total,
            failed=snapshot.failed_in_all,
            figures=_figures(snapshot, rate),
            clocks=clock(snapshot.elapsed_s) + (f" [dim]{clock(left)} left[/]" if left is not None else ""),
        )
        # the last column stays free: a terminal would begin a new line
        self._console.width = max(columns(self._fd) - 1, 1)
        with self._console.capture() as captured:
            self._console.print(self._progress.get_renderable(), end="")
        return captured.get().split("\n", 1)[0]

    def _open(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, TextColumn
        from rich.table import Column

        from disbatch.monitor.twocolours import ResultsColumn

        self._console = Console(file=io.StringIO(), force_terminal=True)
        layout = (
            ResultsColumn(),
            TextColumn("{task.fields[figures]}", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[clocks]}", table_column=Column(no_wrap=True)),
        )
        self._progress: Progress = Progress(*layout, console=self._console, auto_refresh=False)
        self._task: TaskID = self._progress.add_task("", total=None, failed=0, figures="", clocks="")


def _figures(s: RunSnapshot, rate: float) -> str:
    """The counts, in the markup of rich, with lines between them."""
    of = f"/{s.total}" if s.total is not None else ""
    where = "before" if s.running or s.ready else "at"
    failed = s.failed_in_all
    parts = [
        f"{s.finished}{of}",
        f"{s.ok} ok",
        f"[red]{failed} failed[/]" if failed else "0 failed",
        f"[dim]{s.skipped} skipped[/]" if s.skipped else "",
        f"{s.running} running",
        f"{rate:.0f}/s",
        f"[yellow]{where} a barrier[/]" if s.barrier else "",
    ]
    return " [dim]|[/] ".join(filter(None, parts))


RunView = QuietView | PlainView | TerminalView


def choose_view(*, quiet: bool) -> RunView:
    """Return the view that fits where standard error goes."""
    stream = OutputStream(2)
    if quiet:
        return QuietView(stream)
    fits = os.isatty(2) and can_redraw(os.environ.get("TERM", ""))
    return TerminalView(stream) if fits else PlainView(stream)


def in_foreground(fd: int) -> bool:
    """Return True unless this process is a background job of the terminal `fd`."""
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        # not the terminal of this session: there is no job control
        return True


def can_redraw(term: str) -> bool:
    """Return True if a terminal of this kind can go back to the start of a line and erase it."""
    if term in ("", "dumb", "unknown"):
        return False
    try:
        import curses
    except ImportError:
        return term.startswith(_KNOWN_TERMINALS)
    try:
        curses.setupterm(term, 2)
    except curses.error:
        return term.startswith(_KNOWN_TERMINALS)
    return bool(curses.tigetstr("cr") and curses.tigetstr("el"))


def columns(fd: int) -> int:
    """Return the width of the terminal `fd` in characters."""
    try:
        found = os.get_terminal_size(fd).columns
    except OSError:
        found = 0
    given = os.environ.get("COLUMNS", "")
    return found or (int(given) if given.isdigit() else 0) or DEFAULT_COLUMNS
