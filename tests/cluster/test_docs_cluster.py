"""docs/slurm.md, docs/ssh.md: their commands run as they stand, in the jobs of a real Slurm, and on real hosts by ssh."""

import re
import sys
from pathlib import Path

import pytest
from docs_blocks import PAGES, ROOT, Block, blocks_of, make_programs, reader_environment, run_block
from slurmbed import SlurmBed
from sshbed import SshBed

BLOCKS = [block for path in PAGES for block in blocks_of(path)]
LIMIT_S = 90.0  # of one block; sbatch --wait looks only now and then


def pages(kind: str) -> list[str]:
    return sorted({block.page for block in BLOCKS if block.kind == kind})


def of_page(name: str, kind: str) -> list[Block]:
    return [block for block in BLOCKS if block.page == name and block.kind in (kind, "sh run")]


def settled(env: dict[str, str], programs: Path, home: Path) -> dict[str, str]:
    """What a reader has, with the bed's own programs and settings."""
    reader = reader_environment(programs, home)
    return env | {
        "PATH": f"{programs}:{env.get('PATH', reader['PATH'])}",
        "HOME": str(home),
        "TEST_MARK": str(home),
    }


@pytest.mark.parametrize("name", pages("sh slurm"))
def test_commands_for_slurm(name: str, slurm: SlurmBed, tmp_path: Path) -> None:
    programs = make_programs(tmp_path / "bin")
    folder = tmp_path / "here"
    folder.mkdir()
    for block in of_page(name, "sh slurm"):
        run_block(block, folder, settled(slurm.environ, programs, tmp_path), LIMIT_S)
        slurm.wait(lambda: not slurm.command("squeue", "--noheader").stdout, "its jobs are over", LIMIT_S)
    said = "\n".join(path.read_text() for path in folder.glob("slurm-*.out"))
    assert "disBatch: error" not in said, said
    if name == "slurm.md":
        look_at_slurm_page(folder)


def look_at_slurm_page(folder: Path) -> None:
    """Beyond that nothing fails: the command that nodes are given back with, and the job that drained."""
    assert re.search(r"node\d can go, node\d.* work on", (folder / "given-back").read_text())
    part = (folder / "part_status.txt").read_text().splitlines()
    rest = (folder / "rest_status.txt").read_text().splitlines()
    assert 0 < len(part) < 40 and len(rest) == 40
    assert sum(line.startswith("   S") for line in rest) == len(part)


@pytest.mark.parametrize("name", pages("sh ssh"))
def test_commands_for_ssh(name: str, ssh_bed: SshBed, tmp_path: Path) -> None:
    programs = make_programs(tmp_path / "bin")
    folder = tmp_path / "here"
    folder.mkdir()
    reader = reader_environment(programs, tmp_path)
    env = settled(reader | {"PATH": ssh_bed.search_path()}, programs, tmp_path)
    for block in of_page(name, "sh ssh"):
        run_block(block, folder, env, LIMIT_S)


def test_the_pages_are_there() -> None:
    assert "slurm.md" in pages("sh slurm") and "ssh.md" in pages("sh ssh")


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
    env = settled(slurm.environ, programs, tmp_path) | {"PYTHONPATH": str(ROOT)}
    (tmp_path / "Tasks").write_text("true\nexit 3\n")
    block = Block("x.md", 1, "sh slurm", "", "sbatch --wait -n 6 --ntasks-per-node 2 disBatch -p run Tasks\n")
    run_block(block, tmp_path, env, LIMIT_S)
    (out,) = tmp_path.glob("slurm-*.out")
    line = out.read_text().splitlines()[-1]
    assert line == "To run the failed tasks again: disBatch -r run_status.txt -R -p run Tasks"
    assert len((tmp_path / "run_status.txt").read_text().splitlines()) == 2
