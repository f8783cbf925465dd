"""Nodes are given back while the run goes on: seen in a real Slurm, and what a command of the user's own is told."""

import sys
from pathlib import Path

from disbatch_runs import Bench
from slurmbed import SlurmBed

ROOT = Path(__file__).parents[2]
SCRIPT = f"export PYTHONPATH={ROOT}\nexec {sys.executable} -m disbatch -p run "
# Task 0 stays where it is until the test says so; the others are short. Each says where it is.
LONG = "echo $SLURMD_NODENAME > long.node; until [ -e go ]; do sleep 0.05; done\n"
THREE_NODES = ("-N3", "-n3", "--ntasks-per-node=1")


def nodes_kept(bench: Bench) -> set[str]:
    """What has to stay: the driver's node (the first of the job), and the one with the long task."""
    return {"node1", bench.read("long.node").strip()}


def test_nodes_without_work_go_back_to_slurm_and_the_run_goes_on(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", LONG + "sleep 0.3\n" * 5)
    job = slurm.sbatch(*THREE_NODES, script=SCRIPT + "Tasks", cwd=bench.path)
    slurm.wait((bench.path / "long.node").exists, "the long task runs", 30)
    kept = nodes_kept(bench)
    slurm.wait(lambda: set(slurm.nodes_of(job)) == kept, f"the job has only {kept}", 30)
    free = {node for node, state in slurm.node_states().items() if state == "idle"}
    assert free == {"node1", "node2", "node3"} - kept
    assert slurm.job(job)["JobState"] == "RUNNING"
    assert not list(bench.path.glob("slurm_job_*_resize*"))
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=30)
    assert [row.returncode for row in bench.rows()] == [0] * 6
    assert "given back: node" in bench.read("run_driver.txt")
    assert "failed" not in bench.read(f"slurm-{job}.out").replace("0 failed", "")


def test_a_command_of_the_users_own_is_told_all_about_it(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", LONG + "sleep 0.3\n" * 5)
    told = "env | grep -E '^(NODES?|ACTIVE|RETIRED|RETCODES|DRIVER_NODE|SLURM_JOB_ID)=' | sort >> told"
    bench.file("retire.sh", f"{told}\necho . >> told\n")
    script = SCRIPT + "--retire-cmd 'bash ./retire.sh' Tasks"
    job = slurm.sbatch(*THREE_NODES, script=script, cwd=bench.path)
    slurm.wait((bench.path / "long.node").exists, "the long task runs", 30)
    gone = {"node1", "node2", "node3"} - nodes_kept(bench)

    def calls() -> list[dict[str, str]]:
        blocks = bench.read("told").split(".\n")[:-1] if (bench.path / "told").exists() else []
        return [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]

    slurm.wait(
        lambda: calls() and set(calls()[-1]["RETIRED"].split(",")) == gone, "it was called for all", 30
    )
    for call in calls():
        assert call["NODE"] == call["NODES"] and call["RETCODES"] == ",".join(
            "0" for _ in call["NODES"].split(",")
        )
        assert call["SLURM_JOB_ID"] == str(job) and "DRIVER_NODE" not in call
    assert sorted(node for call in calls() for node in call["NODES"].split(",")) == sorted(gone)
    assert set(calls()[-1]["ACTIVE"].split(",")) == nodes_kept(bench)
    assert len(slurm.nodes_of(job)) == 3  # this command gives nothing back
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=30)


def test_a_command_that_fails_is_a_warning_and_the_run_ends_well(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", LONG + "sleep 0.3\n" * 5)
    script = SCRIPT + "-k 'echo some noise; echo no such luck >&2; exit 7' Tasks"
    job = slurm.sbatch(*THREE_NODES, script=script, cwd=bench.path)
    out = bench.path / f"slurm-{job}.out"
    slurm.wait(lambda: out.exists() and "no such luck" in out.read_text(), "the warning is shown", 30)
    assert "warning: giving back node" in out.read_text() and "exit code 7: no such luck" in out.read_text()
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=30)


def test_nothing_is_given_back_when_that_is_not_wanted(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", LONG + "sleep 0.3\n" * 5 + "sleep 2; touch late\n")
    job = slurm.sbatch(*THREE_NODES, script=SCRIPT + "--no-retire Tasks", cwd=bench.path)
    slurm.wait((bench.path / "late").exists, "the other tasks are done", 30)
    assert len(slurm.nodes_of(job)) == 3
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=30)
    assert "no longer needed" not in bench.read("run_driver.txt")


def test_from_outside_the_job_the_node_with_the_work_stays(slurm: SlurmBed, bench: Bench) -> None:
    """salloc runs disBatch where it was called, on no node of the job."""
    bench.file("Tasks", LONG + "sleep 0.3\nscontrol show job $SLURM_JOB_ID -o > before\n")
    bench.file(
        "watch.sh", "until [ $(squeue -h -j $SLURM_JOB_ID -o %D) = 1 ]; do sleep 0.1; done; touch go\n"
    )
    done = slurm.salloc(
        ["-N2", "-n2"], ["bash", "-c", "bash ./watch.sh & " + SCRIPT.replace("exec ", "") + "Tasks; wait"],
        cwd=bench.path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row.returncode for row in bench.rows()] == [0, 0, 0]
    assert not list(bench.path.glob("slurm_job_*_resize*"))


def test_a_node_whose_engine_was_lost_is_kept_for_the_next_one(slurm: SlurmBed, bench: Bench) -> None:
    bench.file(
        "Tasks", "echo $SLURMD_NODENAME >> $SLURMD_NODENAME.begun; until [ -e go ]; do sleep 0.05; done\n" * 2
    )
    job = slurm.sbatch("-N2", "-n2", "--ntasks-per-node=1", script=SCRIPT + "Tasks", cwd=bench.path)
    begun = [bench.path / f"node{number}.begun" for number in (1, 2)]
    slurm.wait(lambda: all(path.exists() for path in begun), "both tasks run", 30)
    steps = slurm.command("squeue", "--steps", "--noheader", "--jobs", str(job), "--format", "%i %N").stdout
    (step,) = [line.split()[0] for line in steps.splitlines() if line.split()[1] == "node2"]
    assert slurm.command("scancel", "--signal=KILL", step).returncode == 0
    slurm.wait(lambda: len(begun[1].read_text().splitlines()) == 2, "the task runs once more, there", 30)
    assert slurm.nodes_of(job) == ["node1", "node2"]
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=30)
    assert "another engine is started on node2" in bench.read(f"slurm-{job}.out")
