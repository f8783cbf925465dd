"""The commands of README.md and docs/ that need other hosts: run as they stand, by real ssh and in a real Slurm."""

import shutil
from pathlib import Path

import pytest
from docs_blocks import PAGES, blocks_of, make_programs, reader_environment, run_block
from slurmbed import SlurmBed
from sshbed import SshBed

BLOCKS = {path.name: blocks_of(path) for path in PAGES}


def pages_with(kind: str) -> list[str]:
    return [name for name, blocks in BLOCKS.items() if any(block.kind == kind for block in blocks)]


def run_page(name: str, kind: str, folder: Path, env: dict[str, str]) -> None:
    """All blocks of this kind, in order, in one folder that holds a task file named Tasks."""
    folder.mkdir()
    (folder / "Tasks").write_text("hostname > host.$DISBATCH_TASKID\n" * 8)
    for block in BLOCKS[name]:
        if block.kind == kind:
            run_block(block, folder, env, limit_s=100)


@pytest.mark.parametrize("name", pages_with("sh ssh"))
def test_commands_for_hosts_by_ssh(ssh_bed: SshBed, tmp_path: Path, name: str) -> None:
    """The hosts are nodea, nodeb and nodec."""
    programs = make_programs(tmp_path / "bin")
    env = reader_environment(programs, tmp_path)
    run_page(name, "sh ssh", tmp_path / "here", env | {"PATH": ssh_bed.search_path(env["PATH"])})


@pytest.mark.parametrize("name", pages_with("sh slurm"))
def test_commands_for_slurm(slurm: SlurmBed, tmp_path: Path, name: str) -> None:
    """Three nodes of four CPUs. A job is waited for before the next command comes, as its results are looked at."""
    programs = make_programs(tmp_path / "bin")
    sbatch = shutil.which("sbatch")
    (programs / "sbatch").write_text(f'#!/bin/sh\nexec {sbatch} --wait "$@"\n')
    (programs / "sbatch").chmod(0o755)
    env = reader_environment(programs, tmp_path, SLURM_CONF=slurm.environ["SLURM_CONF"])
    run_page(name, "sh slurm", tmp_path / "here", env)
