"""System calls that fail in a run whose engine is on another host, see `tests/inject`."""

from pathlib import Path

import pytest
from sshbed import SshBed

from tests.inject.calls import sample, unknown
from tests.inject.checking import broken, why_not
from tests.inject.gate import SSH_TARGETS
from tests.inject.overssh import bed_over

SIZE = 24
REASON = why_not()


@pytest.mark.slow
@pytest.mark.skipif(bool(REASON), reason=REASON)
def test_a_sample_over_ssh(ssh_bed: SshBed, tmp_path: Path) -> None:
    counts = {target: bed_over(ssh_bed, tmp_path / target).count(target) for target in SSH_TARGETS}
    assert unknown(counts) == set()
    assert not broken(sample(counts, SIZE), tmp_path, lambda folder: bed_over(ssh_bed, folder))
