"""Nodes are given back while the run goes on: seen in a real Slurm, and what a command of the user's own is told."""

import sys
from pathlib import Path

from disbatch_runs import Bench
from slurmbed import SlurmBed

ROOT = Path(__file__).parents[2]
SCRIPT = f"export PYTHONPATH={ROOT}\nexec {sys.executable} -m disbatch -p run "
# One task on each of three nodes; when all are there, those that do not match go on until the test says so.
MEET = "touch $SLURMD_NODENAME.on; until [ -e node1.on -a -e node2.on -a -e node3.on ]; do sleep 0.05; done; "
STAY = "until [ -e go ]; do sleep 0.05; done"
THREE_NODES = ("-N3", "-n3", "--ntasks-per-node=1")


def tasks(ending: str) -> str:
    """A list whose tasks end at once on nodes that match the pattern."""
    return f"{MEET}case $SLURMD_NODENAME in {ending}) ;; *) {STAY};; esac\n" * 3


def test_a_node_without_work_goes_back_to_slurm_and_the_run_goes_on(slurm: SlurmBed, bench: Bench) -> None:
    """The driver's node has no work either, and stays."""
    bench.file("Tasks", tasks("node[13]"))
    job = slurm.sbatch(*THREE_NODES, script=SCRIPT + "Tasks", cwd=bench.path)
    slurm.wait(lambda: slurm.nodes_of(job) == ["node1", "node2"], "the job has two nodes", 40)
    slurm.wait(lambda: slurm.node_states()["node3"] == "idle", "the third is free", 10)
    assert slurm.job(job)["JobState"] == "RUNNING"
    assert slurm.command("squeue", "-h", "-j", str(job), "-o", "%N %D").stdout.split() == ["node[1-2]", "2"]
    assert not list(bench.path.glob("slurm_job_*_resize*"))
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=30)
    assert [row.returncode for row in bench.rows()] == [0] * 3
    assert "given back: node3" in bench.read("run_driver.txt")
    assert "giving back" not in bench.read(f"slurm-{job}.out")


def test_a_command_of_the_users_own_is_told_all_about_it(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", tasks("node[23]"))
    told = "env | grep -E '^(NODES?|ACTIVE|RETIRED|RETCODES|DRIVER_NODE|SLURM_JOB_ID)=' | sort >> told"
    bench.file("retire.sh", f"{told}\necho . >> told\n")
    script = SCRIPT + "--retire-cmd 'bash ./retire.sh' Tasks"
    job = slurm.sbatch(*THREE_NODES, script=script, cwd=bench.path)

    def calls() -> list[dict[str, str]]:
        blocks = bench.read("told").split(".\n")[:-1] if (bench.path / "told").exists() else []
        return [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks]

    slurm.wait(lambda: calls() and len(calls()[-1]["RETIRED"].split(",")) == 2, "it was called for both", 40)
    for call in calls():
        codes = ",".join("0" for _ in call["NODES"].split(","))
        assert call["NODE"] == call["NODES"] and call["RETCODES"] == codes
        assert call["SLURM_JOB_ID"] == str(job) and "DRIVER_NODE" not in call
    assert sorted(node for call in calls() for node in call["NODES"].split(",")) == ["node2", "node3"]
    assert calls()[-1]["ACTIVE"] == "node1"
    assert len(slurm.nodes_of(job)) == 3  # this command gives nothing back
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=30)


def test_a_command_that_fails_is_a_warning_and_the_run_ends_well(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", tasks("node3"))
    script = SCRIPT + "-k 'echo some noise; echo no such luck >&2; exit 7' Tasks"
    job = slurm.sbatch(*THREE_NODES, script=script, cwd=bench.path)
    out = bench.path / f"slurm-{job}.out"
    slurm.wait(lambda: out.exists() and "no such luck" in out.read_text(), "the warning is shown", 40)
    assert "warning: giving back node3 failed: exit code 7: no such luck" in out.read_text()
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=30)


def test_nothing_is_given_back_when_that_is_not_wanted(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", tasks("node3"))
    job = slurm.sbatch(*THREE_NODES, script=SCRIPT + "--no-retire Tasks", cwd=bench.path)
    slurm.wait(lambda: (bench.path / "run_status.txt").exists() and bench.rows(), "one task is done", 40)
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=30)
    assert "no longer needed" not in bench.read("run_driver.txt")
    assert "given back" not in bench.read("run_driver.txt")


def test_a_driver_on_a_node_without_a_slot_keeps_it(slurm: SlurmBed, bench: Bench) -> None:
    """Another job leaves one core of node1, which is too few for a task."""
    other = slurm.sbatch("-N1", "-n3", "-w", "node1", script="sleep 1000", cwd=bench.path)
    slurm.wait_job(other, "RUNNING")
    meet = "touch $SLURMD_NODENAME.on; until [ -e node2.on -a -e node3.on ]; do sleep 0.05; done; "
    bench.file("Tasks", f"{meet}[ $SLURMD_NODENAME = node3 ] || {STAY}\n" * 2)
    job = slurm.sbatch("-N3", "-n9", script=SCRIPT + "-c 2 -t 1 Tasks", cwd=bench.path)
    slurm.wait(lambda: slurm.nodes_of(job) == ["node1", "node2"], "node3 is given back, node1 is not", 40)
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=30)
    assert {row.node for row in bench.rows()} == {"node2", "node3"}
    slurm.cancel(other)


def test_from_outside_the_job_the_node_with_the_work_stays(slurm: SlurmBed, bench: Bench) -> None:
    """salloc runs disBatch where it was called, on no node of the job."""
    bench.file("Tasks", f"{STAY}\n" + "sleep 0.3\n" * 2)
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


def test_a_job_that_joined_a_run_gives_back_what_it_does_not_need(slurm: SlurmBed, bench: Bench) -> None:
    meet = "touch $SLURMD_NODENAME.on; until [ -e node1.on -a -e node2.on ]; do sleep 0.05; done; "
    bench.file("Tasks", f"{meet}[ $SLURMD_NODENAME = node2 ] || {STAY}\n" * 2)
    run = bench.start("-S", "-p", "run", "Tasks", env=slurm.environ)
    run.until_exists("run_kvsinfo.txt")
    job = slurm.sbatch("-N2", "-n2", "--ntasks-per-node=1", "run_dbUtil.sh", cwd=bench.path)
    slurm.wait(lambda: slurm.nodes_of(job) == ["node1"], "the job has one node", 40)
    bench.file("go", "")
    assert run.end().code == 0, run.logs()
    slurm.wait_job(job, "COMPLETED", seconds=30)
    assert not list(bench.path.glob("slurm_job_*_resize*"))
