"""Feeding programs that end in the wrong way: what was accepted finishes, the message is clear, the exit code is 3."""

import os
import signal
import sys

import pytest
from disbatch_runs import AFTER_A_KILL_S, Bench, Result, wait_until

SIGN_IN = """
kvs() { "$PYTHON" -m kvsstcp client -T 30 "$@"; }
sign_in() { kvs -p 'task source name' gen -p 'task source done task' END -p 'task source result key' res -p 'task source task key' task; }
"""


def feed(bench: Bench, text: str) -> Result:
    bench.file("feed.sh", SIGN_IN + text)
    return bench.here(2, "--taskcommand", "bash feed.sh", env={"PYTHON": sys.executable})


def only_error(result: Result) -> str:
    (line,) = [line for line in result.err.splitlines() if line.startswith("disBatch: ")]
    return line


@pytest.mark.parametrize("last", ["kvs -p task END; exit 5", "exit 5"])
def test_it_exits_non_zero(bench: Bench, last: str) -> None:
    done = feed(bench, f"sign_in; kvs -p task 'echo a' -p task 'sleep 0.5; echo b'; {last}")
    assert done.code == 3
    assert "the feeding program ended with exit code 5: bash feed.sh" in only_error(done)
    assert bench.done() == [0, 1]


def test_it_ends_without_the_done_string(bench: Bench) -> None:
    done = feed(bench, "sign_in; kvs -p task 'exit 4' -p task 'sleep 0.5; echo b'")
    assert done.code == 3
    assert "the feeding program ended before it said that no more tasks come: bash feed.sh" in only_error(
        done
    )
    assert bench.done() == [0, 1]


def test_it_never_signs_in(bench: Bench) -> None:
    done = feed(bench, "true")
    assert done.code == 3
    assert "the feeding program ended without ever signing in: bash feed.sh" in only_error(done)
    assert bench.rows() == []


def test_it_signs_in_and_has_no_tasks(bench: Bench) -> None:
    done = feed(bench, "sign_in; kvs -p task END")
    assert (done.code, done.err) == (0, "")
    assert bench.rows() == []


def test_it_reads_results_after_the_last_task(bench: Bench) -> None:
    """The KVS stays until the program is done with it."""
    done = feed(
        bench,
        "sign_in; kvs -p task 'exit 1' -p task 'exit 2' -p task END;"
        'for i in 1 2; do id=$(kvs -g "res done tasks"); kvs -g "res $id"; done > said',
    )
    assert (done.code, done.err) == (0, "")
    assert sorted(line.count('"ReturnCode": ') for line in bench.read("said").splitlines()) == [1, 1]


IMPATIENT = "import sys, disbatch.cli, disbatch.runtime.feedcommand as f; f.SIGN_IN_S = 0.5; sys.exit(disbatch.cli.main())"


def test_one_that_does_not_sign_in_is_told_about_the_option(bench: Bench) -> None:
    """After 30 s; half a second here."""
    os.mkfifo(bench.path / "gate")
    run = bench.start_here(1, "--taskcommand", "read < gate", program=[sys.executable, "-c", IMPATIENT])
    run.until(lambda: "has not signed in after" in run.err(), "the reminder")
    assert "--insecure-kvs" in run.err()
    (bench.path / "gate").write_text("\n")
    assert run.end().code == 3


def test_it_is_killed(bench: Bench) -> None:
    done = feed(bench, "sign_in; kvs -p task 'echo a'; kvs -g 'res done tasks' > id; kill -9 $$")
    assert done.code == 3
    assert "feeding program" in only_error(done)
    assert bench.done() == [0]


def test_a_bad_directive_from_a_program(bench: Bench) -> None:
    done = feed(
        bench,
        "sign_in; kvs -p task 'echo a'; kvs -g 'res done tasks' > id; kvs -p task '#DISBATCH NONSENSE'; sleep 600",
    )
    assert done.code == 2
    assert "gen, line 2" in done.err and "NONSENSE" in done.err
    assert bench.done() == [0]


def test_interrupted_it_ends_with_the_run(bench: Bench) -> None:
    bench.file(
        "feed.sh",
        SIGN_IN + "sign_in; kvs -p task 'echo $$ > started; exec tail -f /dev/null'; exec tail -f /dev/null",
    )
    run = bench.start_here(2, "--taskcommand", "bash feed.sh", env={"PYTHON": sys.executable})
    run.until_exists("started")
    run.signal(signal.SIGTERM)
    assert run.end().code == 143
    wait_until(lambda: not bench.left_running(), "nothing is left", logs=bench.logs)


def test_the_driver_is_killed(bench: Bench) -> None:
    """A feeding program that waits for results hears of it: its connection ends."""
    bench.file(
        "feed.sh",
        SIGN_IN + "sign_in; kvs -p task 'echo $$ > started; exec tail -f /dev/null'; kvs -g 'res done tasks'",
    )
    run = bench.start_here(2, "--taskcommand", "bash feed.sh", env={"PYTHON": sys.executable})
    run.until_exists("started")
    run.kill()
    wait_until(lambda: not bench.left_running(), "nothing is left", seconds=AFTER_A_KILL_S, logs=bench.logs)
