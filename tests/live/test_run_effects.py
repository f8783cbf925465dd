"""A driver in which one thing fails that never should: the others are done all the same, and the run comes to its end."""

import sys

from disbatch_runs import Bench

# Begins disBatch after `{}`, which breaks a part of it.
BROKEN = "import sys; {}; from disbatch.cli import program; program()"
NO_RESCUE = """
from disbatch.runtime.rescue import Rescue
def broken(self, effect, before=Rescue.carry_out):
    before(self, effect)
    raise KeyError('this part is broken')
Rescue.carry_out = broken
"""
NO_SECOND_ROW = """
from disbatch.runtime.recording import Recording
def broken(self, effect, before=Recording.record):
    if effect.batch > 1:
        raise KeyError('this part is broken')
    before(self, effect)
Recording.record = broken
"""


def program(how: str) -> list[str]:
    return [sys.executable, "-c", BROKEN.format(f"exec({how!r})")]


def test_one_effect_that_fails_keeps_no_other_from_being_done(bench: Bench) -> None:
    kill_once = "[ -e killed ] || { touch killed; kill -9 $PPID; sleep 9; }; true"
    done = bench.here(1, tasks=f"{kill_once}\ntrue\n", program=program(NO_RESCUE))
    assert done.code == 0 and bench.done() == [0, 1], done.err
    log = bench.read("run_driver.txt")
    assert "an effect could not be carried out" in log and "this part is broken" in log
    assert "Traceback" not in done.err


def test_rows_that_cannot_be_recorded_end_the_run(bench: Bench) -> None:
    done = bench.here(1, tasks="sleep 0.1\nsleep 0.1\nsleep 0.1\n", program=program(NO_SECOND_ROW))
    assert done.code == 3 and "results cannot be recorded" in done.err and "Traceback" not in done.err
    assert bench.done() == [0]
    again = bench.run("-s", "localhost:1", "-r", "run_status.txt", "-p", "again", "Tasks")
    assert again.code == 0 and bench.done("again_status.txt") == [0, 1, 2]
