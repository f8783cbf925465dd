"""disBatch below srun, and tasks that look like jobs of one process, to the real srun as well."""

import sys
from collections import Counter
from pathlib import Path

from disbatch_runs import Bench
from slurmbed import SlurmBed

ROOT = Path(__file__).parents[2]
ENVIRONMENT = f"export PYTHONPATH={ROOT}\n"
PROGRAM = f"{sys.executable} -m disbatch -p run "
HOLD = "echo >> $DISBATCH_TASKID.ran; sleep 0.3\n"


def output(bench: Bench, job: int) -> str:
    return (bench.path / f"slurm-{job}.out").read_text()


def test_of_the_processes_that_srun_starts_one_works(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", HOLD * 8)
    job = slurm.sbatch(
        "-n4", "-N2", "--ntasks-per-node=2", script=f"{ENVIRONMENT}srun {PROGRAM} Tasks", cwd=bench.path
    )
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert [bench.read(f"{number}.ran") for number in range(8)] == ["\n"] * 8
    said = output(bench, job)
    assert all(f"process {number} of 4 that srun has started" in said for number in (1, 2, 3))
    assert Counter(row.node for row in bench.rows()).keys() == {"node1", "node2"}


def test_a_step_of_one_process_has_the_nodes_and_slots_of_the_job(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "true\n")
    script = (
        f"{ENVIRONMENT}{PROGRAM} --dry-run Tasks > batch\nsrun -N1 -n1 {PROGRAM} --dry-run Tasks > step\n"
    )
    job = slurm.sbatch("-n4", "-N2", "-c2", "--ntasks-per-node=2", script=script, cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert "node1: 2 slots" in bench.read("batch") and bench.read("step") == bench.read("batch")


def test_t_wins_over_the_numbers_of_the_job(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "echo $DISBATCH_CORES_PER_TASK $SLURM_CPUS_PER_TASK > cores; sleep 0.5\n" * 2)
    job = slurm.sbatch("-n1", "-c4", script=f"{ENVIRONMENT}{PROGRAM} -t 2 Tasks", cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    first, second = bench.rows()
    assert bench.read("cores") == "2 2\n" and max(first.start_s, second.start_s) < min(
        first.finish_s, second.finish_s
    )


def test_a_task_looks_like_a_job_of_one_process(slurm: SlurmBed, bench: Bench) -> None:
    """On each node, and its srun starts one process."""
    seen = "echo $SLURM_NTASKS $SLURM_NPROCS $SLURM_PROCID $SLURM_LOCALID $SLURM_NODEID $SLURM_NNODES $SLURM_JOB_NODELIST"
    task = f"{seen} > $DISBATCH_TASKID.env; srun bash -c 'echo $SLURM_PROCID/$SLURM_NTASKS' > $DISBATCH_TASKID.srun; sleep 0.5\n"
    bench.file("Tasks", task * 4)
    job = slurm.sbatch(
        "-n4", "-N2", "--ntasks-per-node=2", script=f"{ENVIRONMENT}{PROGRAM} Tasks", cwd=bench.path
    )
    slurm.wait_job(job, "COMPLETED", seconds=60)
    rows = bench.rows()
    assert {row.returncode for row in rows} == {0} and {row.node for row in rows} == {"node1", "node2"}
    for row in rows:
        assert bench.read(f"{row.task_id}.env") == f"1 1 0 0 0 1 {row.node}\n"
        assert bench.read(f"{row.task_id}.srun") == "0/1\n"
