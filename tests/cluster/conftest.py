"""For tests with real daemons: hosts with sshd, and a Slurm. Each is skipped by name where this machine cannot have it.

`sshbed.py`, `slurmbed.py` and `netbed.py` say what they give. The helpers of the live tests can be imported too.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "live"))
sys.path.insert(0, str(Path(__file__).parent))

from disbatch_runs import Bench, kill_all, processes_of, wait_until
from slurmbed import SlurmBed, why_no_slurm
from sshbed import SshBed, why_no_ssh


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests are spread over processes, these stay together: there is one Slurm, and one network of each name."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("cluster"))


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path) -> Iterator[None]:
    """Fails a test after which a process still has the test's folder in its environment or as its working folder."""
    yield
    try:
        wait_until(
            lambda: not processes_of(str(tmp_path)),
            "no process of this test is left",
            seconds=5.0,
            logs=lambda: subprocess.run(["ps", "axfww"], capture_output=True, text=True).stdout,
        )
    finally:
        kill_all(processes_of(str(tmp_path)))


@pytest.fixture
def ssh_bed() -> Iterator[SshBed]:
    """Three hosts of the test's own, to unplug and crash as it likes; fails a test that leaves something running there."""
    if reason := why_no_ssh():
        pytest.skip(reason)
    made = SshBed()
    try:
        yield made
        made.settle()
    finally:
        made.close()


@pytest.fixture(scope="session")
def slurm_session() -> Iterator[SlurmBed]:
    if reason := why_no_slurm():
        pytest.skip(reason)
    made = SlurmBed()
    yield made
    made.close()


@pytest.fixture
def slurm(slurm_session: SlurmBed) -> Iterator[SlurmBed]:
    """The Slurm of the whole session, idle before and after; fails a test that leaves something running on its nodes."""
    slurm_session.wait_idle()
    yield slurm_session
    slurm_session.cancel_all()
    slurm_session.settle()


@pytest.fixture
def own_slurm() -> Iterator[SlurmBed]:
    """A Slurm of the test's own: for those that unplug or crash a node."""
    if reason := why_no_slurm():
        pytest.skip(reason)
    made = SlurmBed()
    yield made
    made.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Runs disBatch in the test's own folder, here, on the driver's machine; what still runs at the end is killed."""
    made = Bench(tmp_path)
    yield made
    made.close()
