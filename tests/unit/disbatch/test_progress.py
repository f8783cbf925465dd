"""What is shown while a run lasts: rates, clocks, one plain line every half minute, warnings alone when quiet."""

import pytest

from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.progress import Pace, clock, plain_line, seconds_left


def snapshot(
    elapsed_s: float,
    done: int = 0,
    *,
    failed: int = 0,
    skipped: int = 0,
    total: int | None = None,
    barrier: str = "",
) -> RunSnapshot:
    return RunSnapshot(elapsed_s, done, failed, skipped, 2, 0, total, barrier, "running", ())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.4, "0:59"), (59.6, "1:00"), (61, "1:01"), (3599.7, "1:00:00"), (36061, "10:01:01")],
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_rate_is_that_of_the_last_seconds() -> None:
    pace = Pace()
    assert pace.rate(snapshot(0.0)) == 0.0
    for second in range(1, 100):
        pace.rate(snapshot(float(second), 10 * second))
    assert pace.rate(snapshot(100.0, 1000)) == pytest.approx(10.0, rel=0.1)
    for second in range(101, 140):
        pace.rate(snapshot(float(second), 1000))
    assert pace.rate(snapshot(140.0, 1000)) == pytest.approx(0.0, abs=0.1)


def test_skipped_tasks_are_no_rate_but_count_for_what_is_left() -> None:
    pace = Pace()
    pace.rate(snapshot(0.0))
    assert pace.rate(snapshot(10.0, 10, skipped=1000)) == pytest.approx(1.0)
    assert seconds_left(snapshot(10.0, 10, skipped=80, total=100), 1.0) == pytest.approx(10.0)


def test_time_left_is_unknown_without_a_total_or_a_rate() -> None:
    assert seconds_left(snapshot(1.0), 5.0) is None
    assert seconds_left(snapshot(1.0, total=5), 0.0) is None


def test_no_time_is_left_when_no_task_is() -> None:
    assert seconds_left(snapshot(3.0, 5, total=6), 2.0) == 0.5
    assert seconds_left(snapshot(3.0, 6, total=6), 2.0) is None


def test_the_plain_line_has_all_figures() -> None:
    text = plain_line(snapshot(65.0, 5, failed=1, skipped=2, total=20, barrier="#DISBATCH BARRIER"), 0.5)
    for part in (
        "1:05",
        "8 of 20",
        "1 failed",
        "2 of them ended in earlier runs",
        "2 running",
        "0.5/s",
        "0:24",
        "#DISBATCH BARRIER",
    ):
        assert part in text
    assert "\n" not in text
