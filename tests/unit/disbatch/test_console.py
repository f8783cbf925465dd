"""What a run shows while it lasts, and where."""

import os
import re
from collections.abc import Iterator

import pytest

from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor import console
from disbatch.monitor.console import PlainView, QuietView, TerminalView, can_redraw, choose_view
from disbatch.output import OutputStream

PATIENCE_S = 10.0


class Captured:
    """A pipe that views write to."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.stream = OutputStream(self.writer)

    def text(self) -> str:
        assert self.stream.flush(PATIENCE_S)
        try:
            return os.read(self.reader, 1 << 16).decode()
        except BlockingIOError:
            return ""


@pytest.fixture
def captured() -> Iterator[Captured]:
    made = Captured()
    yield made
    os.close(made.reader)
    os.close(made.writer)


def snapshot(elapsed_s: float, done: int = 0, *, total: int | None = None, failed: int = 0) -> RunSnapshot:
    return RunSnapshot(elapsed_s, done, failed, 0, 2, 0, total, "", "running", ())


def test_one_plain_line_every_half_minute(captured: Captured) -> None:
    view = PlainView(captured.stream)
    for half_second in range(2 * 95 + 1):
        view.update(snapshot(half_second / 2, half_second))
    assert 3 <= len(captured.text().splitlines()) <= 4


def test_a_short_run_shows_no_plain_line(captured: Captured) -> None:
    view = PlainView(captured.stream)
    view.update(snapshot(0.0))
    view.update(snapshot(5.0, 100))
    view.close()
    assert captured.text() == ""


def test_a_quiet_run_shows_warnings_alone(captured: Captured) -> None:
    view = QuietView(captured.stream)
    view.update(snapshot(99.0))
    view.say("a note", "note")
    view.say("trouble", "warning")
    assert captured.text() == "disBatch: warning: trouble\n"


def test_where_standard_error_is_no_terminal_the_view_is_plain() -> None:
    assert type(choose_view(quiet=False)) is PlainView
    assert type(choose_view(quiet=True)) is QuietView


def test_the_bar_is_one_line_of_the_terminal(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    view = TerminalView(captured.stream)
    view.begin()
    for width in (20, 40, 120):
        monkeypatch.setattr(console, "columns", lambda fd, width=width: width)
        view.update(snapshot(99.0, 12345, total=1_000_000, failed=7))
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", captured.text()).strip("\r")
        assert "\n" not in shown and len(shown) < width, shown
    assert "12352/1000000" in shown and "7 failed" in shown and "2 running" in shown


def test_a_background_job_gets_plain_lines(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    view = TerminalView(captured.stream)
    view.begin()
    view.update(snapshot(10.0))
    assert "\x1b" in captured.text()
    monkeypatch.setattr(console, "in_foreground", lambda fd: False)
    view.update(snapshot(11.0))
    assert captured.text() == "\r\x1b[2K\x1b[?25h"
    for second in range(12, 80):
        view.update(snapshot(second))
    assert 2 <= len(captured.text().splitlines()) <= 3


def test_colours_only_where_they_are_wanted(captured: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    TerminalView(captured.stream).say("trouble", "warning")
    assert captured.text() == "\x1b[33mdisBatch: warning: trouble\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    TerminalView(captured.stream).say("trouble", "warning")
    assert captured.text() == "disBatch: warning: trouble\n"


@pytest.mark.parametrize("term", ["", "dumb", "unknown", "no-such-terminal"])
def test_terminals_that_cannot_redraw(term: str) -> None:
    assert not can_redraw(term)


@pytest.mark.parametrize(
    "term", ["xterm-256color", "xterm-no-such-variant", "screen", "tmux-256color", "linux", "vt100"]
)
def test_terminals_that_can(term: str) -> None:
    assert can_redraw(term)
