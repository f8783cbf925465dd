"""The commands of README.md and docs/ that need other hosts: run as they stand, by real ssh and in a real Slurm."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from docs_blocks import PAGES, ROOT, Block, blocks_of, make_programs, reader_environment, run_block
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
            wait = "" if "no-wait" in block.rest else "--wait"
            run_block(block, folder, env | {"SBATCH_OPTIONS": wait}, limit_s=100)


@pytest.mark.parametrize("name", pages_with("sh ssh"))
def test_commands_for_hosts_by_ssh(ssh_bed: SshBed, tmp_path: Path, name: str) -> None:
    """The hosts are nodea, nodeb and nodec."""
    programs = make_programs(tmp_path / "bin")
    env = reader_environment(programs, tmp_path)
    run_page(name, "sh ssh", tmp_path / "here", env | {"PATH": ssh_bed.search_path(env["PATH"])})


@pytest.mark.timeout(300)  # sbatch --wait looks only now and then
@pytest.mark.parametrize("name", pages_with("sh slurm"))
def test_commands_for_slurm(slurm: SlurmBed, tmp_path: Path, name: str) -> None:
    """Three nodes of four CPUs. A job is waited for before the next command comes, as its results are looked at."""
    programs = make_programs(tmp_path / "bin")
    sbatch = shutil.which("sbatch")
    (programs / "sbatch").write_text(f'#!/bin/sh\nexec {sbatch} $SBATCH_OPTIONS "$@"\n')
    (programs / "sbatch").chmod(0o755)
    env = reader_environment(programs, tmp_path, SLURM_CONF=slurm.environ["SLURM_CONF"])
    run_page(name, "sh slurm", tmp_path / "here", env)
    if name == "slurm.md":
        look_at_slurm_page(tmp_path / "here")


def look_at_slurm_page(folder: Path) -> None:
    """Beyond that nothing fails: the command that nodes are given back with, and the job that drained."""
    assert re.search(r"node\d can go, node\d.* work on", (folder / "given-back").read_text())
    part = (folder / "part_status.txt").read_text().splitlines()
    rest = (folder / "rest_status.txt").read_text().splitlines()
    assert 0 < len(part) < 40 and len(rest) == 40
    assert sum(line.startswith("   S") for line in rest) == len(part)


def test_the_console_script_itself_is_a_batch_script(slurm: SlurmBed, tmp_path: Path) -> None:
    """sbatch copies it elsewhere: it works there, and the command that goes on names a program that stays."""
    programs = make_programs(tmp_path / "bin")
    script = programs / "disBatch"
    script.write_text(
        f"#!{sys.executable}\n# -*- coding: utf-8 -*-\nimport re\nimport sys\n"
        "from disbatch.cli import program\n"
        "if __name__ == '__main__':\n"
        "    sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n"
        "    sys.exit(program())\n"
    )
    env = reader_environment(programs, tmp_path, SLURM_CONF=slurm.environ["SLURM_CONF"], PYTHONPATH=str(ROOT))
    (tmp_path / "Tasks").write_text("true\nexit 3\n")
    block = Block("x.md", 1, "sh slurm", "", "sbatch --wait -n 6 --ntasks-per-node 2 disBatch -p run Tasks\n")
    run_block(block, tmp_path, env, 60)
    (out,) = tmp_path.glob("slurm-*.out")
    line = out.read_text().splitlines()[-1]
    assert line == "To run the failed tasks again: disBatch -r run_status.txt -R -p run Tasks"
    assert len((tmp_path / "run_status.txt").read_text().splitlines()) == 2
