"""Tasks that end the engine which runs them: only they are given up, and what ended an engine is said."""

import pytest
from disbatch_runs import Bench

SLEEPERS = "sleep 0.3\n"


def codes(bench: Bench) -> dict[int, int]:
    return {row.task_id: row.returncode for row in bench.rows() if row.flags[3] != "P"}


@pytest.mark.parametrize("killer", ["kill -9 $PPID; sleep 100", "sleep 0.5; kill -9 $PPID; sleep 100"])
def test_of_eight_slots_only_the_task_that_kills_its_engine_is_given_up(bench: Bench, killer: str) -> None:
    result = bench.here(8, tasks=SLEEPERS * 3 + killer + "\n" + SLEEPERS * 10)
    assert result.code == 0, result.err
    assert codes(bench) == {**dict.fromkeys(range(14), 0), 3: -100}
    assert "runs alone" in result.err and "(3 times)" in bench.row(3).err


def test_two_engines_and_a_task_that_kills_them(bench: Bench) -> None:
    tasks = SLEEPERS * 5 + "sleep 0.1; kill -9 $PPID; sleep 100\n" + SLEEPERS * 20
    result = bench.run("-s", "localhost:4,127.0.0.1:4", "-p", "run", "--lost-limit", "2", tasks=tasks)
    assert result.code == 0, result.err
    assert codes(bench) == {**dict.fromkeys(range(26), 0), 5: -100}


def test_two_of_twenty_tasks_kill_their_engine(bench: Bench) -> None:
    lines = [SLEEPERS] * 20
    lines[2] = lines[17] = "kill -9 $PPID; sleep 100\n"
    result = bench.here(8, "--lost-limit", "2", tasks="".join(lines))
    assert result.code == 0, result.err
    assert codes(bench) == {**dict.fromkeys(range(20), 0), 2: -100, 17: -100}
