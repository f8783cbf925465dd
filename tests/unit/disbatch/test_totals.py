"""Totals that can be read in one way only, and the bar of two colours."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from disbatch.core.snapshot import RunSnapshot
from disbatch.core.totals import totals
from disbatch.monitor.console import _Bar
from disbatch.monitor.twocolours import ResultsBar, lengths


def snapshot(
    done: int, failed: int, skipped: int = 0, skipped_failed: int = 0, total: int | None = None
) -> RunSnapshot:
    return RunSnapshot(
        5.0, done, failed, skipped, 1, 0, total, "", "running", (), skipped_failed=skipped_failed
    )


def test_totals() -> None:
    assert totals(snapshot(29, 471)) == "500 tasks: 29 ok, 471 failed"
    assert totals(snapshot(1, 0)) == "1 task: 1 ok, 0 failed"
    assert totals(snapshot(1, 2, total=9), of_all=True) == "3 of 9 tasks: 1 ok, 2 failed"
    earlier = totals(snapshot(1, 2, skipped=10, skipped_failed=4))
    assert earlier == "13 tasks: 7 ok, 6 failed (10 of them ended in earlier runs)"


@pytest.mark.parametrize(
    ("finished", "failed", "expected"),
    [
        (0, 0, (0, 0)),
        (500, 471, (2, 38)),
        (500, 0, (40, 0)),
        (500, 1, (39, 1)),
        (500, 499, (1, 39)),
        (500, 500, (0, 40)),
        (1, 1, (0, 1)),
        (250, 100, (12, 8)),
    ],
)
def test_lengths(finished: int, failed: int, expected: tuple[int, int]) -> None:
    assert lengths(40, finished, failed, 500) == expected


def test_the_bar_is_green_and_red() -> None:
    console = Console(file=io.StringIO(), width=20, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(ResultsBar(15, 5, 20))
    text = Text.from_ansi(captured.get().strip())
    colours = [(text.plain[span.start : span.end], str(span.style)) for span in text.spans]
    assert [(len(part), style) for part, style in colours] == [
        (10, "color(2)"),
        (5, "color(1)"),
        (5, "color(8)"),
    ]


def test_figures_of_the_bar_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    line = Text.from_ansi(_Bar(0).frame(snapshot(29, 451, skipped=20, skipped_failed=20, total=600))).plain
    assert "500/600 | 29 ok | 471 failed | 20 skipped | 1 running | " in line
