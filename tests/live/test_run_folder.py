"""A status file that cannot be written although its disk has room: quota, read-only, a folder that is gone and comes back."""

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from disbatch_runs import Bench, Run

COUNT = 8
FIRST = 4  # these end before the trouble begins
LATER = 100  # these wait for a slot when the trouble begins
AHEAD = 2 * COUNT  # of them an engine may have got already
TASK = "touch $DISBATCH_TASKID.runs; until [ -e go ]; do sleep 0.02; done"


def begun(bench: Bench, folder: str = "out") -> Run:
    """Some tasks have lines, others run. Behind them those that are not to begin while nothing can be written."""
    tasks = "sleep 0.1\n" * FIRST + f"{TASK}\n" * COUNT + "touch $DISBATCH_TASKID.later\n" * LATER
    run = bench.start("-s", f"localhost:{COUNT}", "-p", f"{folder}/run", "--no-usage", tasks=tasks)
    run.until_exists(*(f"{i}.runs" for i in range(FIRST, FIRST + COUNT)))
    run.until(lambda: len(bench.done(f"{folder}/run_status.txt")) == FIRST, "the first ones have lines")
    return run


def held_up(bench: Bench, run: Run, reason: str) -> None:
    bench.file("go", "")
    run.until(lambda: "cannot write" in run.err(), "it says that it cannot write")
    assert reason in run.err() and "out/run_status.txt" in run.err()
    run.until(lambda: not bench.task_pids(), "what ran has ended")
    assert run.process.poll() is None and len(list(bench.path.glob("*.later"))) <= AHEAD


def goes_on(bench: Bench, run: Run) -> None:
    result = run.end()
    assert result.code == 0, result.err
    rows = bench.rows("out/run_status.txt")
    assert sorted(row.task_id for row in rows) == list(range(FIRST + COUNT + LATER))
    assert "can be written again" in result.err and "Traceback" not in result.err


def test_a_folder_that_vanishes_and_comes_back(bench: Bench) -> None:
    (bench.path / "out").mkdir()
    run = begun(bench)
    (bench.path / "out").rename(bench.path / "away")
    held_up(bench, run, "No such file or directory")
    (bench.path / "away").rename(bench.path / "out")
    goes_on(bench, run)


def test_a_folder_that_is_deleted_and_made_again(bench: Bench) -> None:
    (bench.path / "out").mkdir()
    run = begun(bench)
    shutil.rmtree(bench.path / "out")
    held_up(bench, run, "No such file or directory")
    (bench.path / "out").mkdir()
    goes_on(bench, run)


def test_a_limit_of_what_may_be_written(bench: Bench) -> None:
    (bench.path / "out").mkdir()
    run = begun(bench)
    size = (bench.path / "out/run_status.txt").stat().st_size
    _, hard = resource.prlimit(run.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (size + 10, hard))
    held_up(bench, run, "File too large")
    assert (bench.path / "out/run_status.txt").stat().st_size == size
    resource.prlimit(run.pid, resource.RLIMIT_FSIZE, (hard, hard))
    goes_on(bench, run)


class Image:
    """An ext4 file system in a file."""

    def __init__(self, bench: Bench) -> None:
        self.place = bench.path / "out"
        self.place.mkdir()
        self._file = bench.path / "image"
        self._file.write_bytes(b"\0" * (4 << 20))
        self._run("mkfs.ext4", "-q", "-F", self._file)
        self._run("mount", "-o", "loop", self._file, self.place)

    @staticmethod
    def _run(*argv: str | Path, allowed: tuple[int, ...] = (0,)) -> None:
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode in allowed, done

    def fail(self) -> None:
        """What the kernel does when it meets an error on the disk: the file system is read-only from now on."""
        self._run("mount", "-o", "remount,abort", self.place)

    def mend(self) -> None:
        """As people do it: check it, and mount it again. (A copy: the run has its file still open.)"""
        copy = self._file.with_name("copy")
        shutil.copyfile(self._file, copy)
        self._run("umount", "--lazy", self.place)
        self._run("e2fsck", "-fy", copy, allowed=(0, 1))
        self._run("mount", "-o", "loop", copy, self.place)

    def close(self) -> None:
        self._run("umount", "--lazy", self.place)


@pytest.fixture
def image(bench: Bench) -> Iterator[Image]:
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("making a file system needs root and mkfs.ext4")
    try:
        made = Image(bench)
    except AssertionError as error:
        pytest.skip(f"no file system in a file here: {error}")
    yield made
    made.close()


def test_a_disk_that_becomes_read_only(bench: Bench, image: Image) -> None:
    """Lines that were not on the disk yet are missing when it is mounted again: they are written once more."""
    run = begun(bench)
    image.fail()
    held_up(bench, run, "Read-only file system")
    image.mend()
    goes_on(bench, run)


@pytest.mark.parametrize("how", ["chmod", "another"])
def test_what_it_may_not_touch_is_left_alone(bench: Bench, how: str) -> None:
    """Another file under that name, put there by an editor or a person, is not written to."""
    (bench.path / "out").mkdir()
    run = begun(bench)
    status = bench.path / "out/run_status.txt"
    if how == "another":
        mine = status.read_bytes()
        status.unlink()
        status.write_text("my notes\n")
        held_up(bench, run, "another file has taken its place")
        assert status.read_text() == "my notes\n"
        status.unlink()
        status.write_bytes(mine)
        goes_on(bench, run)
    else:  # what is open stays open
        status.chmod(0o400)
        bench.file("go", "")
        assert run.end().code == 0 and len(bench.rows("out/run_status.txt")) == FIRST + COUNT + LATER


def test_a_signal_ends_a_run_whose_folder_is_gone(bench: Bench) -> None:
    (bench.path / "out").mkdir()
    run = begun(bench)
    (bench.path / "out").rename(bench.path / "away")
    held_up(bench, run, "No such file or directory")
    run.signal(signal.SIGTERM)
    result = run.end(20)
    assert result.code in (3, 143) and "Traceback" not in result.err, result.err
    assert bench.done("away/run_status.txt") == list(range(FIRST))
    (bench.path / "away").rename(bench.path / "out")
    again = bench.shell(result.resume)
    assert again.code == 0, again.err
    assert bench.done("out/run_status.txt") == list(range(FIRST + COUNT + LATER))
