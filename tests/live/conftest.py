"""For tests with real processes: a bench to run disBatch on, and a look behind each test for what it left running."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from disbatch_runs import (
    AFTER_A_KILL_S,
    AFTER_AN_END_S,
    DRIVER_KILLED,
    Bench,
    command_line,
    kill_all,
    processes_of,
    wait_until,
)


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """Fails a test after which a process still has the test's folder in its environment or as its working folder."""
    yield
    killed = (tmp_path / "io" / DRIVER_KILLED).exists()
    try:
        wait_until(
            lambda: not processes_of(str(tmp_path)),
            "no process of this test is left",
            seconds=AFTER_A_KILL_S if killed else AFTER_AN_END_S,
            logs=lambda: "\n".join(map(command_line, processes_of(str(tmp_path)))),
        )
    finally:
        kill_all(processes_of(str(tmp_path)))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Runs disBatch in the test's own folder; what still runs at the end is killed."""
    made = Bench(tmp_path)
    yield made
    made.close()
