"""Rounds of random kills and stops, of driver, engines, guards and contexts, with a terminal that closes in a third of them.

Here are a few. `DISBATCH_CHAOS=100` plays a hundred, `DISBATCH_CHAOS_SEED` says with which seed they begin;
`python tests/live/chaos.py 100` does the same and prints a table.
"""

import os
import time
from pathlib import Path

import pytest
from chaos import play, table_row
from chaos_account import Account
from disbatch_runs import Bench

ROUNDS = int(os.environ.get("DISBATCH_CHAOS", "3"))
FIRST = int(os.environ.get("DISBATCH_CHAOS_SEED", "0"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + ROUNDS))
def test_a_round_loses_doubles_tears_and_leaves_nothing(tmp_path: Path, seed: int) -> None:
    began = time.monotonic()
    game = play(tmp_path, seed)
    row = table_row(seed, game, time.monotonic() - began)
    assert not game.account.faults, "\n".join([row, *game.account.faults, *game.outputs()])


def line(task: int, pid: int, code: int = 0) -> str:
    return f"    \t{task}\t1\t-1\tn1\t{pid}\t{code}" + "\t0.1" * 3 + "\t0\t''\t0\t''\ttrue\n"


BEGUN = "start 0 7\nstart 1 8\nstop 0 7\nstop 1 8\n"


@pytest.mark.parametrize(
    ("journal", "status", "fault"),
    [
        (BEGUN, line(0, 7) + line(1, 8), ""),
        (BEGUN, line(0, 7) + line(0, 7), "two lines"),
        (BEGUN, line(0, 7) + line(1, 8)[:20] + line(1, 8), "a torn line"),
        (BEGUN, line(0, 7) + line(1, 8)[:20], "a torn last line"),
        (BEGUN, line(0, 7) + line(1, 9), "did not happen"),
        (BEGUN, line(0, 7) + line(1, 8, 3), "without a success"),
        (BEGUN, line(0, 7), "without a success"),
        (BEGUN + "start 0 9\n", line(0, 7) + line(1, 8), "ran again"),
    ],
)
def test_the_account_sees_every_fault(bench: Bench, journal: str, status: str, fault: str) -> None:
    account = Account(bench, tasks={0, 1})
    bench.file("journal", BEGUN)
    bench.file("run_status.txt", line(0, 7) + line(1, 8))
    account.look("run", torn=False)
    bench.file("journal", journal)
    bench.file("run_status.txt", status)
    account.settle(account.look("run", torn=False))
    assert bool(account.faults) == bool(fault) and fault in str(account.faults)


def test_the_account_sees_twins_and_tracebacks(bench: Bench) -> None:
    account = Account(bench, tasks=set())
    bench.file("twins", "3\n")
    bench.file("run_driver.txt", "Traceback (most recent call last):\n")
    account.settle({})
    assert len(account.faults) == 2
