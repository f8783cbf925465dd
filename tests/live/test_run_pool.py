"""A pool that changes while the run goes on: -S, PREFIX_dbUtil.sh, contexts that come, end, and are stopped."""

import json
import signal
import stat
import subprocess
import sys
from collections import Counter

from disbatch_runs import Bench, Run

SCRIPT = ["./run_dbUtil.sh"]


def start_empty(bench: Bench, tasks: str, *arguments: str) -> Run:
    """A run without machines, ready to be joined."""
    run = bench.start("-S", "-p", "run", *arguments, tasks=tasks)
    run.until_exists("run_kvsinfo.txt")
    return run


def join(bench: Bench, *arguments: str) -> Run:
    return bench.start(*arguments, program=SCRIPT)


def contexts(bench: Bench) -> Counter[str]:
    """Tasks by the engine rank that they have noted."""
    return Counter(path.read_text().strip() for path in bench.path.glob("*.rank"))


RANK = "echo $DISBATCH_ENGINE_RANK > $DISBATCH_TASKID.rank; sleep 0.2\n"


def test_a_run_without_machines_says_how_to_add_some_and_ends_with_its_tasks(bench: Bench) -> None:
    task = "echo $DISBATCH_ENGINE_RANK > $DISBATCH_TASKID.rank; until [ -e go ]; do sleep 0.02; done\n"
    run = start_empty(bench, task * 8)
    run.until(lambda: "run_dbUtil.sh -s localhost:4" in run.err(), "it says how")
    assert "sbatch" in run.err()
    first, second = join(bench, "-s", "localhost:2"), join(bench, "-s", "localhost:2")
    run.until_exists("0.rank", "1.rank", "2.rank", "3.rank")
    bench.file("go", "")
    done = run.end()
    assert done.code == 0 and bench.done() == list(range(8))
    assert first.end().code == second.end().code == 0
    assert set(contexts(bench)) == {"0", "1"}
    assert "has ended" in first.err()


def test_the_script_is_private_and_needs_nothing_on_path(bench: Bench) -> None:
    run = start_empty(bench, "true\n")
    script = bench.path / "run_dbUtil.sh"
    assert stat.S_IMODE(script.stat().st_mode) == 0o700
    token = next(
        line.split()[1] for line in bench.read("run_kvsinfo.txt").splitlines() if line.startswith("token ")
    )
    assert token not in script.read_text()
    elsewhere = subprocess.run(
        [str(script), "-s", "localhost:1"],
        cwd="/",
        env={"TEST_MARK": bench.env["TEST_MARK"]},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert run.end().code == 0
    assert bench.row(0).command == "true"


def test_a_script_copied_elsewhere_still_finds_its_run(bench: Bench) -> None:
    """Schedulers copy batch scripts into folders of their own."""
    run = start_empty(bench, "pwd > where\n")
    copy = bench.path.parent / "copy.sh"
    copy.write_bytes((bench.path / "run_dbUtil.sh").read_bytes())
    copy.chmod(0o700)
    assert bench.run("-s", "localhost:1", program=[str(copy)]).code == 0
    assert run.end().code == 0
    assert bench.read("where").strip() == str(bench.path)


def test_machines_join_a_run_that_has_some(bench: Bench) -> None:
    task = "echo $DISBATCH_ENGINE_RANK > $DISBATCH_TASKID.rank; until [ -e go ]; do sleep 0.02; done\n"
    run = bench.start_here(1, tasks=task * 4)
    run.until_exists("run_dbUtil.sh", "0.rank")
    late = join(bench, "-s", "localhost:3", "-l", "LATE")
    run.until_exists("1.rank", "2.rank", "3.rank")
    bench.file("go", "")
    assert run.end().code == 0 and late.end().code == 0
    assert contexts(bench) == {"0": 1, "1": 3}
    assert "context LATE joins" in run.err()
    assert list(bench.path.glob("run_LATE_*_engine.txt"))


def test_after_the_end_the_script_says_so(bench: Bench) -> None:
    assert bench.here(1, tasks="true\n").code == 0
    late = join(bench, "-s", "localhost:1").end()
    assert late.code == 0 and "has ended" in late.out and "run_status.txt" in late.out


def test_a_driver_that_was_killed_is_told_apart_from_one_that_ended(bench: Bench) -> None:
    run = start_empty(bench, "true\n")
    run.kill()
    late = join(bench, "-s", "localhost:1").end()
    assert late.code == 3
    assert (
        f"is dead: process {run.pid} has ended" in late.err
        and "-r" in late.err
        and "run_status.txt" in late.err
    )


def test_a_context_whose_driver_is_killed_ends_with_its_engines(bench: Bench) -> None:
    run = start_empty(bench, "touch on; sleep 100\n")
    context = join(bench, "-s", "localhost:1")
    run.until_exists("on")
    run.kill()
    ended = context.end()
    assert ended.code == 3 and "is gone" in ended.err
    assert bench.rows() == []


def test_a_limit_ends_the_context_and_the_run_with_exit_code_3(bench: Bench) -> None:
    done = bench.here(1, "-C", "2", tasks="true\n" * 5)
    assert done.code == 3 and bench.done() == [0, 1]
    assert "has run its 2 tasks (-C)" in done.err
    assert "-r run_status.txt" in done.resume
    assert bench.shell(done.resume.replace("-C 2", "")).code == 0


def test_with_startup_only_a_limit_is_for_the_context_alone(bench: Bench) -> None:
    run = start_empty(bench, "true\n" * 5)
    assert join(bench, "-s", "localhost:2", "-C", "3").end().code == 0
    run.until(lambda: "waiting for more to join" in run.err(), "it waits")
    assert bench.done() == [0, 1, 2]
    join(bench, "-s", "localhost:1")
    assert run.end().code == 0 and bench.done() == [0, 1, 2, 3, 4]


def test_labels_are_unique(bench: Bench) -> None:
    run = start_empty(bench, "until [ -e go ]; do sleep 0.05; done\n" * 2)
    join(bench, "-s", "localhost:1", "-l", "NIGHT")
    run.until(lambda: "context NIGHT joins" in run.err(), "NIGHT is there")
    again = join(bench, "-s", "localhost:1", "-l", "NIGHT").end()
    assert again.code == 2 and "'NIGHT' is taken" in again.err and "-l" in again.err
    bench.file("go", "")
    assert run.end().code == 0


def test_an_engine_is_stopped_softly_and_the_other_does_the_rest(bench: Bench) -> None:
    run = start_empty(bench, "touch $DISBATCH_TASKID.on; until [ -e go ]; do sleep 0.02; done\n" + RANK * 4)
    first = join(bench, "-s", "localhost:1")
    run.until_exists("0.on")
    stopped = bench.run("--stop-engine", "0", program=SCRIPT)
    assert stopped.code == 0 and "1 running task to finish first" in stopped.out
    join(bench, "-s", "localhost:2")
    run.until(lambda: len(bench.done()) == 4, "the others are done by the new engine")
    assert set(contexts(bench)) == {"1"}
    bench.file("go", "")
    assert run.end().code == 0 and first.end().code == 0
    assert bench.row(0).returncode == 0


def test_a_context_is_stopped_by_its_label(bench: Bench) -> None:
    task = "touch $DISBATCH_TASKID.on; until [ -e go ]; do sleep 0.02; done\n"
    run = bench.start_here(1, "-l", "MINE", tasks=task * 9)
    run.until_exists("0.on")
    assert bench.run("--stop-context", "MINE", program=SCRIPT).code == 0
    bench.file("go", "")
    done = run.end()
    assert done.code == 3 and bench.done() == [0]
    assert done.resume


def test_orders_that_make_no_sense_are_refused(bench: Bench) -> None:
    run = bench.start_here(1, tasks="until [ -e go ]; do sleep 0.05; done\n")
    run.until_exists("run_kvsinfo.txt")
    for arguments, words in (
        (["--stop-engine", "5"], "no engine '5'"),
        (["--stop-context", "X"], "no context 'X' (it has: SSH0)"),
        (["--stop-engine", "1", "--stop-context", "X"], "exclude each other"),
        (["--json"], "need --mon or --status"),
        (["--mon", "-s", "localhost:1"], "-s adds machines"),
        ([], "nothing to run on"),
    ):
        refused = bench.run(*arguments, program=SCRIPT)
        assert refused.code == 2 and words in refused.err and refused.err.count("\n") == 1, refused
    bench.file("go", "")
    assert run.end().code == 0


def test_the_state_of_a_run_as_text_and_as_json(bench: Bench) -> None:
    run = bench.start_here(1, tasks="touch on; until [ -e go ]; do sleep 0.05; done\ntrue\n")
    run.until_exists("on")
    assert "0 of 2 tasks finished" in bench.run("--status", program=SCRIPT).out
    state = json.loads(bench.run("--status", "--json", program=SCRIPT).out)
    assert state["running"] == 1 and state["contexts"][0]["label"] == "SSH0"
    bench.file("go", "")
    assert run.end().code == 0


def test_ctrl_c_at_a_context_lets_its_tasks_finish(bench: Bench) -> None:
    run = start_empty(bench, "touch $DISBATCH_TASKID.on; until [ -e go ]; do sleep 0.02; done\n" * 2)
    context = join(bench, "-s", "localhost:1")
    run.until_exists("0.on")
    context.signal(signal.SIGINT)
    context.until(lambda: "what runs may finish" in context.err(), "it says what follows")
    bench.file("go", "")
    assert context.end().code == 0 and bench.done() == [0]
    join(bench, "-s", "localhost:1")
    assert run.end().code == 0 and bench.done() == [0, 1]


def test_term_at_a_context_stops_its_tasks_and_they_run_elsewhere(bench: Bench) -> None:
    tasks = "touch $DISBATCH_ENGINE_RANK.on; [ $DISBATCH_ENGINE_RANK = 1 ] || sleep 100\n"
    run = start_empty(bench, tasks)
    context = join(bench, "-s", "localhost:1")
    run.until_exists("0.on")
    context.signal(signal.SIGTERM)
    assert context.end().code == 0 and bench.rows() == []
    join(bench, "-s", "localhost:1")
    assert run.end().code == 0
    assert bench.row(0).returncode == 0


def test_the_console_script_takes_a_prefix_or_any_file_of_the_run(bench: Bench) -> None:
    run = bench.start_here(1, tasks="until [ -e go ]; do sleep 0.05; done\n")
    run.until_exists("run_kvsinfo.txt")
    module = [sys.executable, "-m", "disbatch.ctl"]
    for name in ("run", "run_status.txt", "run_kvsinfo.txt", str(bench.path / "run_dbUtil.sh")):
        shown = bench.run(name, "--status", program=module)
        assert shown.code == 0 and "0 of 1 tasks finished" in shown.out, shown
    nowhere = bench.run("other", "--status", program=module)
    assert nowhere.code == 2 and "there is no run" in nowhere.err
    bench.file("go", "")
    assert run.end().code == 0
