"""An engine on which tasks fail at once, beside one on which they do not: two contexts, of which one has the fault."""

import json

from disbatch_runs import Bench, Run

DBUTIL = ["/bin/bash", "./run_dbUtil.sh"]
# The first engine cannot run anything once the file `bad` is there, until it is gone.
TASK = "[ $DISBATCH_ENGINE_RANK = 0 -a -e bad ] && { echo no such mount >&2; exit 7; }; echo $DISBATCH_TASKID >> good; sleep 0.05"
WAIT = "touch $DISBATCH_ENGINE_RANK.on; until [ -e go ]; do sleep 0.01; done"
COUNT = 30


def two_contexts(bench: Bench, *options: str, task: str = TASK) -> Run:
    """One slot each; when the file `go` appears, the tasks behind the barrier run."""
    listed = f"{WAIT}\n{WAIT}\n#DISBATCH BARRIER\n#DISBATCH REPEAT {COUNT} {task}\n"
    run = bench.start_here(1, *options, tasks=listed)
    run.until_exists("run_dbUtil.sh", "0.on")
    bench.start("-s", "localhost:1", program=DBUTIL)
    run.until_exists("1.on")
    bench.file("bad", "")
    bench.file("go", "")
    return run


def test_tasks_of_a_bad_node_go_well_elsewhere_and_it_gets_no_more(bench: Bench) -> None:
    keep = 'cat > "$DISBATCH_EVENT.json"'
    run = two_contexts(bench, "--quarantine", "2", "--on-event", keep)
    result = run.end()
    assert result.code == 0, result.err
    rows = [row for row in bench.rows() if row.task_id > 2]
    assert len(rows) == COUNT and {row.returncode for row in rows} == {0}
    assert sorted(map(int, bench.read("good").split())) == [
        row.task_id for row in sorted(rows, key=lambda r: r.task_id)
    ]
    assert "2 tasks in a row failed at once" in result.err and "gets no more tasks: of 2 tasks" in result.err
    told = json.loads(bench.read("engine-aside.json"))
    assert (told["event"], told["engine"]["rank"]) == ("engine-aside", 0)
    assert "gets no more tasks" in bench.read("run_driver.txt")


def test_tasks_that_fail_everywhere_have_one_line_each(bench: Bench) -> None:
    run = two_contexts(bench, "--quarantine", "3", task="echo x >> tried.$DISBATCH_TASKID; exit 5")
    result = run.end()
    assert result.code == 0, result.err
    rows = [row for row in bench.rows() if row.task_id > 2]
    assert [row.returncode for row in rows] == [5] * COUNT and len({row.task_id for row in rows}) == COUNT
    assert "gets tasks again: of 3 tasks that had failed at once there, 3 failed elsewhere" in result.err
    tries = [bench.read(f"tried.{row.task_id}").count("x") for row in rows]
    assert max(tries) == 2 and "gets no more tasks" not in result.err


def test_a_single_engine_is_never_set_aside(bench: Bench) -> None:
    result = bench.here(2, "--quarantine", "1", tasks="false\n" * 10 + "true\n")
    assert result.code == 0 and bench.done() == list(range(11))
    assert "aside" not in result.err


def test_a_mistake_is_one_line(bench: Bench) -> None:
    result = bench.here(1, "--quarantine", "0", tasks="true\n")
    assert result.code == 2 and "--quarantine" in result.err
