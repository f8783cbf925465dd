"""When the status file is synced: never, now and then, or before anybody is told that a line is written."""

import os
import threading
from pathlib import Path

import pytest

from disbatch.runtime import statusfile
from disbatch.runtime.appendfile import AppendFile
from disbatch.runtime.statusfile import StatusWriter

DEADLINE_S = 10.0


class Watched:
    """A writer whose syncs and answers are noted in order."""

    def __init__(
        self, path: Path, monkeypatch: pytest.MonkeyPatch, fsync: str, every_s: float = 1000.0
    ) -> None:
        self.events: list[str] = []
        self.synced = threading.Event()
        self.answered = threading.Event()
        monkeypatch.setattr(os, "fsync", self._sync)
        monkeypatch.setattr(statusfile, "FSYNC_S", every_s)
        fd = os.open(path / "status.txt", os.O_RDWR | os.O_APPEND | os.O_CREAT)
        self.writer = StatusWriter(
            AppendFile(fd, str(path / "status.txt")), self._written, self.events.append, None, fsync
        )

    def _sync(self, fd: int) -> None:
        self.events.append("sync")
        self.synced.set()

    def _written(self, batches: list[int]) -> None:
        self.events += [f"written {batch}" for batch in batches]
        self.answered.set()

    def write(self, batch: int) -> None:
        self.answered.clear()
        self.writer.append(batch, b"line\n")
        assert self.answered.wait(DEADLINE_S)


def test_always_syncs_before_it_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path, monkeypatch, "always")
    watched.write(1)
    watched.write(2)
    assert watched.writer.close(DEADLINE_S)
    assert watched.events == ["sync", "written 1", "sync", "written 2"]


def test_interval_syncs_later_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path, monkeypatch, "interval")
    watched.write(1)
    watched.write(2)
    assert watched.writer.close(DEADLINE_S)
    assert watched.events == ["written 1", "written 2", "sync"]


def test_interval_does_not_wait_for_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path, monkeypatch, "interval", every_s=0.01)
    watched.write(1)
    assert watched.synced.wait(DEADLINE_S)
    assert watched.writer.close(DEADLINE_S)


def test_none_never_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path, monkeypatch, "none", every_s=0.001)
    watched.write(1)
    watched.write(2)
    assert watched.writer.close(DEADLINE_S)
    assert watched.events == ["written 1", "written 2"]
    assert (tmp_path / "status.txt").read_bytes() == b"line\n" * 2
