"""`-g` in jobs of a real Slurm, whose nodes have two GPUs each, as far as it can tell."""

import sys
from pathlib import Path

import pytest
from disbatch_runs import Bench
from slurmbed import SlurmBed

ROOT = Path(__file__).parents[2]
SCRIPT = f"export PYTHONPATH={ROOT}\nexec {sys.executable} -m disbatch -p run "
SHOW = 'echo "$SLURMD_NODENAME $DISBATCH_CYLINDER_RANK $CUDA_VISIBLE_DEVICES $ROCR_VISIBLE_DEVICES" >> seen; sleep 0.4\n'


def seen(bench: Bench) -> set[tuple[str, ...]]:
    return {tuple(line.split()) for line in bench.read("seen").splitlines()}


@pytest.mark.parametrize("options", [["--gres=gpu:2"], ["--gpus-per-node=2"], ["--gpus=4"]])
def test_each_slot_has_a_gpu_of_its_node(slurm: SlurmBed, bench: Bench, options: list[str]) -> None:
    bench.file("Tasks", SHOW * 12)
    arguments = ["-N2", "-n4", "--ntasks-per-node=2", *options]
    job = slurm.sbatch(*arguments, script=SCRIPT + "-g Tasks", cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert seen(bench) == {(node, slot, slot, slot) for node in slurm.nodes_of(job) for slot in ("0", "1")}


def test_nodes_with_different_numbers_of_gpus(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", SHOW * 12)
    job = slurm.sbatch(
        "-N2", "-n4", "--ntasks-per-node=2", "--gpus=3", script=SCRIPT + "-g Tasks", cwd=bench.path
    )
    slurm.wait_job(job, "COMPLETED", seconds=60)
    found = seen(bench)
    assert len(found) == 3 == len({(node, device) for node, _, device, _ in found})
    said = bench.read(f"slurm-{job}.out")
    assert said.count("has 1 GPU for 2 slots") == 1


def test_a_job_without_gpus(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "touch never\n")
    job = slurm.sbatch("-N1", "-n2", script=SCRIPT + "-g Tasks", cwd=bench.path)
    slurm.wait_job(job, "FAILED", seconds=60)
    assert "has no GPU" in bench.read(f"slurm-{job}.out")
    assert not (bench.path / "never").exists()
