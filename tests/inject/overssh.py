"""Runs whose engine is on another host: one with an sshd and process ids of its own, see `tests/cluster/sshbed.py`."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tests.inject.bed import ROOT, Bed

sys.path[:0] = [str(ROOT / "tests/live"), str(ROOT / "tests/cluster")]

if TYPE_CHECKING:
    from sshbed import SshBed


@contextlib.contextmanager
def ssh_beds() -> Iterator[Callable[[Path], Bed]]:
    """What makes a bed for a run with its engine on a host that is there as long as this lasts."""
    from sshbed import SshBed, why_no_ssh

    if reason := why_no_ssh():
        raise SystemExit(reason)
    hosts = SshBed()
    try:
        yield lambda folder: bed_over(hosts, folder)
    finally:
        hosts.close()


def bed_over(hosts: "SshBed", folder: Path) -> Bed:
    return Bed(folder, "nodea:2", hosts.search_path())
