"""For tests that use disBatch from this very process: a folder of their own, and a look behind them."""

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from disbatch_runs import ROOT, wait_until


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, where also temporary folders go. Nothing of disBatch is left in it, and in this process."""
    for name in list(os.environ):
        if name.startswith(("SLURM", "DISBATCH", "KVSSTCP")):
            monkeypatch.delenv(name)
    work, scratch = tmp_path / "w", tmp_path / "scratch"
    work.mkdir(exist_ok=True)
    scratch.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("TEST_MARK", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    before = _open_files()
    yield work
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("disbatch ")]
    assert left == [], "threads are left"
    wait_until(lambda: _open_files() <= before, "all files are closed", seconds=5)
    assert list(scratch.iterdir()) == [], "temporary files are left"
