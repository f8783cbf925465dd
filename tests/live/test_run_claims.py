"""The claim of CPUs among engines of one machine that do not see each other: containers, as namespaces make them."""

import fcntl
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from disbatch_runs import PYTHON, Bench, Run, wait_until

from disbatch.core.binding import BindRule
from disbatch.runtime.cpuclaim import MACHINE, CpuClaim

CPUS = os.sched_getaffinity(0)
ALL = len(CPUS)
WAIT = "touch {}.$DISBATCH_TASKID; until [ -e go ]; do sleep 0.02; done\n"
BOUND = "each slot has CPUs of its own"
TAKEN = "another engine on this machine has bound its tasks to the same CPUs"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make network namespaces"),
    pytest.mark.skipif(ALL < 2, reason="one CPU cannot be divided"),
]


def begin(bench: Bench, name: str, unshare: str, program: list[str] = PYTHON) -> Run:
    """A run whose tasks wait, in a container as far as CPUs are concerned."""
    bench.file(name, WAIT.format(name) * ALL)
    words = shlex.join([*program, "-s", f"localhost:{ALL}", "-p", name, name])
    run = bench.start(*unshare.split(), "sh", "-c", f"ip link set lo up; exec {words}", program=["unshare"])
    run.until_exists(*(f"{name}.{task}" for task in range(ALL)))
    return run


def binding(bench: Bench, name: str) -> str:
    """What the engine's log says of it."""
    (log,) = bench.path.glob(f"{name}_*_engine.txt")
    (line,) = [line for line in log.read_text().splitlines() if "binding of tasks to CPUs: " in line]
    return line.partition("binding of tasks to CPUs: ")[2]


def end(bench: Bench, *runs: Run) -> None:
    bench.file("go", "")
    for run in runs:
        assert run.end().code == 0


@pytest.mark.parametrize("mask", ["", f"taskset -c {min(CPUS)},{max(CPUS)} "], ids=["all", "named"])
def test_two_network_namespaces_do_not_bind_to_the_same_cpus(bench: Bench, mask: str) -> None:
    place = bench.io("claims")
    place.touch()
    program = [*mask.split(), sys.executable, str(Path(__file__).with_name("claiming.py")), str(place)]
    first = begin(bench, "first", "--net", program)
    second = begin(bench, "second", "--net", program)
    assert binding(bench, "first").startswith(BOUND) and binding(bench, "second") == TAKEN
    end(bench, first, second)


CONTAINER = "--net --mount --pid --ipc --uts --cgroup --fork --mount-proc"


@pytest.mark.parametrize("kind", ["--net", CONTAINER], ids=["network", "container"])
def test_the_same_where_all_claim_in_the_machines_own_place(bench: Bench, kind: str) -> None:
    """Never both; somebody else may have bound its tasks here, and then it may be neither."""
    first, second = begin(bench, "first", kind), begin(bench, "second", kind)
    words = (binding(bench, "first"), binding(bench, "second"))
    assert TAKEN in words and all(word == TAKEN or word.startswith(BOUND) for word in words)
    end(bench, first, second)


@pytest.mark.parametrize("namespaces", ["-n", "-nmpiuf --mount-proc", "-Un", "-UCnmpiuf --mount-proc"])
def test_the_lock_holds_across_namespaces(namespaces: str) -> None:
    """Held shared here, or by whoever runs on this machine: nobody gets it alone, wherever he is."""
    path, inode = next(pair for pair in MACHINE.locks if os.path.exists(pair[0]))
    script = (
        "import fcntl, os\n"
        f"lock = os.open({path!r}, os.O_RDONLY)\n"
        f"assert os.fstat(lock).st_ino == {inode}\n"
        "try: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: print('taken')"
    )
    lock = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # somebody has it alone, which is as good
        words = ["unshare", *namespaces.split(), sys.executable, "-c", script]
        ended = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
        assert ended.stdout == "taken\n", ended.stderr
    finally:
        os.close(lock)


def test_nothing_is_bound_where_nobody_could_be_seen(bench: Bench) -> None:
    """A time namespace of its own takes the lock's place away."""
    if not os.path.exists("/proc/self/ns/time"):
        pytest.skip("this Linux has no time namespaces")
    run = begin(bench, "first", "--net --time --fork")
    end(bench, run)
    assert "in namespaces of its own" in binding(bench, "first")


@pytest.fixture
def half_a_cpu() -> Iterator[Path]:
    """A control group whose processes have half a CPU together."""
    own = {
        line.split(":")[1]: line.split(":")[2] for line in Path("/proc/self/cgroup").read_text().splitlines()
    }
    version_1 = next((names for names in own if "cpu" in names.split(",")), None)
    parent = (
        Path(f"/sys/fs/cgroup/{version_1}{own[version_1]}")
        if version_1
        else Path("/sys/fs/cgroup" + own.get("", "/"))
    )
    group = parent / f"disbatch-test-cpu-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    try:
        quota, text = ("cpu.cfs_quota_us", "50000") if version_1 else ("cpu.max", "50000 100000")
        if not (group / quota).exists():
            pytest.skip("control groups have no quota of processor time here")
        (group / quota).write_text(text)
        yield group
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text(), "it is empty", seconds=10)
        group.rmdir()


def test_nothing_is_bound_under_a_quota_of_processor_time(bench: Bench, half_a_cpu: Path) -> None:
    bench.file("Tasks", "true\n")
    words = shlex.join([*PYTHON, "-s", f"localhost:{ALL}", "-p", "first", "Tasks"])
    script = f"echo $$ > {half_a_cpu}/cgroup.procs; exec {words}"
    assert bench.run("-c", script, program=["/bin/bash"]).code == 0
    assert binding(bench, "first") == f"control groups grant the time of 0.5 of the {ALL} CPUs"


def test_a_claim_that_is_given_up_leaves_no_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    claim = CpuClaim(BindRule(1, ALL, False), ALL)
    claim.close()
    assert os.listdir("/proc/self/fd") == before
