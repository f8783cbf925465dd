"""The programs that are measured beside disBatch: how each runs a list of commands, start to finish.

What they are asked to do comes from their `--help`, or from the signatures of their Python interface. Scenarios and
figures belong to `local.py`, processes to `measure.py`.
"""

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {"disbatch": "disbatch==3.0", "hyperqueue": "hyperqueue", "hypershell": "hypershell"}


@dataclass(frozen=True, slots=True)
class Peer:
    """`argv(tasks, slots, folder)` runs the lines of the file `tasks`; `feed` says that they come on stdin.

    `max_count` bounds the length of a list of no-op commands: a program that takes a tenth of a second for each is
    compared on a shorter list, with disBatch on the same one.
    """

    name: str
    argv: Callable[[Path, int, Path], list[str]]
    feed: bool = False
    max_count: int | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Absent:
    name: str
    why: str


# HyperQueue on the Python package index is a library with the whole program inside, and no `hq` command. This is what
# its interface offers for one machine: a server and a worker in one process, and one job with a task for each line.
HYPERQUEUE = """
import os, sys
from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

with open(sys.argv[1]) as file:
    lines = file.read().splitlines()
with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores=int(sys.argv[2])))
    client = cluster.client()
    job = Job()
    for line in lines:
        job.program(["bash", "-c", line], stdout=None, stderr=None)
    done = client.wait_for_jobs([client.submit(job)])
sys.exit(0 if done else 1)
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return int(probe.getsockname()[1])


def _hypershell(program: Path) -> Callable[[Path, int, Path], list[str]]:
    def argv(tasks: Path, slots: int, folder: Path) -> list[str]:
        # Without its database, in bundles, and with a short wait for more: the quickest settings that it offers.
        quick = ["--no-db", "--no-confirm", "-b", "100", "-w", "1", "-p", str(_free_port())]
        return [str(program), "cluster", str(tasks), "-N", str(slots), *quick]

    return argv


def _from_system() -> list[Peer | Absent]:
    found: list[Peer | Absent] = []
    xargs, parallel = shutil.which("xargs"), shutil.which("parallel")
    if xargs is None:
        found.append(Absent("xargs", "not installed"))
    else:
        found.append(
            Peer("xargs", lambda t, n, f: [xargs, "-d", "\\n", f"-P{n}", "-n1", "bash", "-c"], feed=True)
        )
    if parallel is None:
        found.append(Absent("GNU parallel", "not installed (Debian, Ubuntu: apt install parallel)"))
    else:
        found.append(Peer("GNU parallel", lambda t, n, f: [parallel, "--will-cite", f"-j{n}"], feed=True))
    return found


def find(peers_dir: Path) -> list[Peer | Absent]:
    """Every peer in the order of the table, each ready to run or with the reason why it is not."""
    found = _from_system()
    disbatch = peers_dir / "disbatch/bin/disBatch"
    hyperqueue = peers_dir / "hyperqueue/bin/python"
    hypershell = peers_dir / "hypershell/bin/hs"
    candidates = [
        Peer(
            "disBatch 3.0",
            lambda t, n, f: [str(disbatch), "-s", f"localhost:{n}", "-p", str(f / "run"), str(t)],
            max_count=100,
        ),
        Peer(
            "HyperQueue",
            lambda t, n, f: [str(hyperqueue), "-c", HYPERQUEUE, str(t), str(n)],
            note="by its Python package: server, worker, submission, waiting and shutdown in one process",
        ),
        Peer(
            "HyperShell",
            _hypershell(hypershell),
            note="server and client of a local cluster, TLS, no database; the lines run in its default shell",
        ),
    ]
    for peer, program in zip(candidates, (disbatch, hyperqueue, hypershell), strict=True):
        there = program.exists()
        found.append(
            peer if there else Absent(peer.name, f"no {program.name} in {program.parent.parent.name}/bin")
        )
    return found


def install(peers_dir: Path, names: Iterable[str] = PACKAGES) -> None:
    """A virtual environment for each of these peers of the package index. A failure is told and costs only that peer."""
    for name in names:
        requirement = PACKAGES[name]
        venv = peers_dir / name
        if not (venv / ".installed").exists():
            print(f"installing {requirement} …", file=sys.stderr)
            pip = [str(venv / "bin/python"), "-m", "pip", "install", "--quiet", requirement]
            made = subprocess.run([sys.executable, "-m", "venv", str(venv)], check=False).returncode == 0
            if made and subprocess.run(pip, check=False).returncode == 0:
                (venv / ".installed").touch()
            else:
                print(f"could not install {requirement}: it is left out", file=sys.stderr)
