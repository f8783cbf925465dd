"""The code blocks of README.md and docs/: found, told apart by their marks, and run as a reader would run them.

    ```sh run            run by tests/live, in one folder a page, in order; behind it may stand
                         `exit=1`: ends with that code; `needs=parallel`: where that program or package is installed
    ```sh ssh, sh slurm  run by tests/cluster, on hosts by ssh, in the jobs of a real Slurm; each job is waited for,
                         unless `no-wait` stands behind it
    ```sh                shown only; tests/live/test_docs.py lists each such command with the reason
    ```tasks             a task file: checked by --dry-run

A comment `<!-- sh run … -->` prepares a page: it is run like a block, and no reader sees it.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PROGRAMS = {
    "disBatch": "disbatch",
    "disbatch-ctl": "disbatch.ctl",
    "disbatch-report": "disbatch.report",
}
KINDS = ("sh run", "sh ssh", "sh slurm", "sh", "tasks", "python", "text", "json", "r")
_FOREIGN = ("DISBATCH_", "SLURM_", "KVSSTCP_", "PYTHON")
_BLOCK = re.compile(
    r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$|^<!-- (?P<hidden>sh \w+[^\n]*)\n(?P<setup>.*?)^-->$",
    re.M | re.S,
)


class Block(NamedTuple):
    page: str
    line: int
    kind: str
    rest: str  # of the info string, behind the kind
    text: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def exit_code(self) -> int:
        found = re.search(r"exit=(\d+)", self.rest)
        return int(found.group(1)) if found else 0

    @property
    def lacks(self) -> str:
        """A program or Python package that it needs and that is not installed."""
        found = re.search(r"needs=(\S+)", self.rest)
        name = found.group(1) if found else ""
        there = shutil.which(name) or (name.isidentifier() and importlib.util.find_spec(name))
        return "" if there else name


def blocks_of(path: Path) -> list[Block]:
    """Every fenced block and every hidden one, in order. The kind is empty for a mark that nobody knows."""
    text, found = path.read_text(), []
    for match in _BLOCK.finditer(text):
        info = (match["info"] if match["info"] is not None else match["hidden"]).strip()
        kind = next((k for k in KINDS if info == k or info.startswith(k + " ")), "")
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(path.name, line, kind, info[len(kind) :].strip(), match["text"] or match["setup"]))
    return found


def make_programs(folder: Path) -> Path:
    """A folder for PATH with our programs, and with the Python of the tests, which can import them."""
    folder.mkdir(parents=True)
    commands = {name: f'"{sys.executable}" -m {module}' for name, module in PROGRAMS.items()}
    for name, command in {**commands, "python3": f'"{sys.executable}"'}.items():
        path = folder / name
        path.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec {command} "$@"\n')
        path.chmod(0o755)
    return folder


def reader_environment(programs: Path, home: Path, **more: str) -> dict[str, str]:
    """What a person has who has installed disBatch, and runs nothing else."""
    own = {k: v for k, v in os.environ.items() if not k.startswith(_FOREIGN)}
    return own | {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(home)} | more


def run_block(block: Block, folder: Path, env: Mapping[str, str], limit_s: float = 60) -> str:
    """Runs it with bash, which stops at the first command that fails. Returns what it printed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s,
    )
    said = f"{block.where}\n{block.text}{done.stdout}{done.stderr}"
    assert done.returncode == block.exit_code, f"exit code {done.returncode}: {said}"
    return done.stdout + done.stderr
