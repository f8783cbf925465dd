"""A small file system that a test can fill."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A file system of 256 KiB that can be filled to the last page, or the last but some."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, *, pages_left: int = 0) -> None:
        with open(self.path / "filler", "ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        if pages_left:
            size = (self.path / "filler").stat().st_size
            os.truncate(self.path / "filler", size - 4096 * pages_left)

    def make_room(self) -> None:
        (self.path / "filler").unlink()


@contextlib.contextmanager
def small_disk(path: Path) -> Iterator[SmallDisk]:
    """Mounts one at `path`; skips the test where that is not allowed."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip(f"mounting a small file system is not allowed here: {mounted.stderr.decode().strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
