"""The kinds of Slurm jobs: heterogeneous, arrays, uneven nodes, options of both sides, options for srun; and how quick."""

import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from disbatch_runs import Bench
from slurmbed import SlurmBed

ROOT = Path(__file__).parents[2]
SCRIPT = f"export PYTHONPATH={ROOT}\nexec {sys.executable} -m disbatch -p run "
WHERE = "sleep 0.4; echo $SLURMD_NODENAME > $DISBATCH_TASKID.node\n"


def nodes_used(bench: Bench, name: str = "run_status.txt") -> Counter[str]:
    for row in bench.rows(name):
        assert row.returncode == 0
    return Counter(row.node for row in bench.rows(name))


def output(bench: Bench, job: int) -> str:
    path = bench.path / f"slurm-{job}.out"
    return path.read_text() if path.exists() else ""


# ---- heterogeneous jobs


def test_a_heterogeneous_allocation_uses_all_its_components(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", WHERE * 12)
    options = ["-n1", "-c2", ":", "-n3", "-N2"]
    done = slurm.salloc(options, ["bash", "-c", SCRIPT + "Tasks"], cwd=bench.path)
    assert done.returncode == 0, done.stderr
    used = nodes_used(bench)
    assert set(used) == {"node1", "node2", "node3"} and used["node2"] > used["node3"]
    for row in bench.rows():
        assert bench.read(f"{row.task_id}.node").strip() == row.node


def test_a_heterogeneous_batch_job(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", WHERE * 6)
    job = slurm.sbatch("-n1", ":", "-n2", "-N2", script=SCRIPT + "Tasks", cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=40)
    assert set(nodes_used(bench)) == {"node1", "node2", "node3"}


def test_a_component_without_a_slot_is_named_and_the_others_work(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", WHERE * 4)
    job = slurm.sbatch("-n1", ":", "-n2", "-N1", script=SCRIPT + "-c 2 Tasks", cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=40)
    assert "warning: component 0 of the job: no node has a slot: node1" in output(bench, job)
    assert len(nodes_used(bench)) == 1


# ---- arrays


def test_each_job_of_an_array_is_a_run_of_its_own(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "echo $SLURM_ARRAY_TASK_ID > $DISBATCH_JOBID.$DISBATCH_TASKID\n" * 2)
    script = SCRIPT.replace("-p run ", "") + "Tasks"
    job = slurm.sbatch("-n1", "--array=1-2", script=script, cwd=bench.path)
    slurm.wait(lambda: len(list(bench.path.glob("*.1"))) == 2, "both have run", 40)
    slurm.wait_idle()
    ids = sorted(int(path.name.split("_")[1]) for path in bench.path.glob("Tasks_*_status.txt"))
    assert len(ids) == 2 and job in ids
    assert sorted(bench.read(f"{number}.0").strip() for number in ids) == ["1", "2"]


def test_a_job_of_an_array_gives_back_its_own_nodes_only(slurm: SlurmBed, bench: Bench) -> None:
    """The id of one of them is that of the whole array."""
    both = "touch $SLURM_ARRAY_TASK_ID.$SLURMD_NODENAME; until [ -e $SLURM_ARRAY_TASK_ID.node1 -a -e $SLURM_ARRAY_TASK_ID.node2 ]; do sleep 0.05; done; "
    wait = "until [ -e go ]; do sleep 0.1; done"
    bench.file("Tasks1", f"{both}{wait}\n" * 2)
    bench.file("Tasks2", f"{both}[ $SLURMD_NODENAME = node2 ] || {wait}\n" * 2)  # node1 is the driver's
    script = SCRIPT.replace("-p run", "-p run$SLURM_ARRAY_TASK_ID") + "Tasks$SLURM_ARRAY_TASK_ID"
    job = slurm.sbatch("-n2", "-N2", "--array=1-2", script=script, cwd=bench.path)

    def count(element: int) -> str:
        return slurm.command("squeue", "-h", "-j", f"{job}_{element}", "-o", "%D").stdout.strip()

    slurm.wait(lambda: len(list(bench.path.glob("?.node?"))) == 4, "all four tasks run", 40)
    slurm.wait(lambda: count(2) == "1", "the second has one node", 20)
    assert count(1) == "2"
    bench.file("go", "")
    slurm.wait_idle()
    assert sum(nodes_used(bench, f"run{number}_status.txt").total() for number in (1, 2)) == 4


# ---- what both sides say


def test_a_node_without_a_slot_is_named_and_skipped(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", WHERE * 4)
    done = slurm.salloc(["-n5", "-N2"], ["bash", "-c", SCRIPT + "-c 2 Tasks"], cwd=bench.path)
    assert done.returncode == 0, done.stderr
    assert "nodes without a slot are not used: node2: 1 core / 2 per task = 0 slots" in done.stderr
    assert nodes_used(bench) == {"node1": 4}


def test_no_slot_at_all_is_an_error_that_shows_the_sums(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "true\n")
    done = slurm.salloc(["-n2", "-N2"], ["bash", "-c", SCRIPT + "-c 2 Tasks"], cwd=bench.path)
    assert done.returncode == 2
    assert "node1: 1 core / 2 per task = 0 slots" in done.stderr and not list(bench.path.glob("run_*"))


@pytest.mark.parametrize(
    ("given", "options", "warning", "slots"),
    [
        (["-n2", "-c2"], "-c 1", "-c 1 of disBatch and 2 CPUs per task of Slurm differ: 1 holds", 4),
        (["-n2", "-c1"], "-t 3", "-t 3 is more than 2 cores / 1 per task allow: 2 tasks at a time", 2),
        (
            ["--ntasks-per-node=3"],
            "-t 2",
            "-t 2 of disBatch and --ntasks-per-node=3 of Slurm differ: 2 holds",
            2,
        ),
        (["-n4"], "-c 2", "-c 2 of disBatch and 1 CPU per task of Slurm differ: 2 holds", 2),
        (["-n2", "-c2"], "", "", 2),
    ],
)
def test_where_the_options_differ_both_are_shown_and_which_holds(
    slurm: SlurmBed, bench: Bench, given: list[str], options: str, warning: str, slots: int
) -> None:
    bench.file("Tasks", "true\n")
    script = SCRIPT + f"--dry-run {options} Tasks"
    done = slurm.salloc(["-N1", *given], ["bash", "-c", script], cwd=bench.path)
    assert done.returncode == 0, done.stderr
    assert f"node1: {slots} slot{'s' * (slots != 1)} (" in done.stdout
    assert warning in done.stdout and ("warning" in done.stdout) is bool(warning)


# ---- the environment of srun


def test_srun_reads_what_the_users_file_says(slurm: SlurmBed, bench: Bench) -> None:
    """A variable of srun's own: with it, engines are given a GPU of the job, and tasks see it."""
    bench.file("Tasks", "echo $SLURM_STEP_GPUS$CUDA_VISIBLE_DEVICES > gpu; echo $MINE > mine\n")
    bench.file("options", "# for srun\nSLURM_GRES=gpu:1\nMINE=7\n")
    script = "export DISBATCH_SLURM_SRUN_OPTIONS_FILE=options\n" + SCRIPT + "Tasks"
    job = slurm.sbatch("-n1", "--gres=gpu:1", script=script, cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=40)
    assert bench.read("gpu").strip() == "0" and bench.read("mine").strip() == "7"


def test_a_users_file_that_makes_no_sense_is_refused_with_its_line(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "true\n")
    bench.file("options", "SLURM_GRES=gpu:1\nsome words\n")
    script = "export DISBATCH_SLURM_SRUN_OPTIONS_FILE=options\n" + SCRIPT + "Tasks"
    done = slurm.salloc(["-n1"], ["bash", "-c", script], cwd=bench.path)
    assert done.returncode == 2 and "options, line 2: NAME=VALUE is needed" in done.stderr


# ---- how quick


def test_forty_short_tasks_on_two_nodes_take_three_seconds_at_most(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "true\n" * 40)
    started = time.monotonic()
    done = slurm.salloc(["-n5"], ["bash", "-c", SCRIPT + "Tasks"], cwd=bench.path)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    assert sum(nodes_used(bench).values()) == 40 and set(nodes_used(bench)) <= {"node1", "node2"}
    print(f"{seconds:.2f} s, salloc included")
    assert seconds < 3.0
