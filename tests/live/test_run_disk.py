"""A full disk: results are kept, the run goes on by itself when there is room again, no line is torn or doubled."""

import signal
from collections.abc import Iterator

import pytest
from disbatch_runs import PYTHON, Bench, Run
from smalldisk import SmallDisk, small_disk

LONG = "x" * 1500
TASKS = f"touch $DISBATCH_TASKID.runs; until [ -e ../go ]; do sleep 0.02; done # {LONG}\n"
COUNT = 12


@pytest.fixture
def disk(bench: Bench) -> Iterator[SmallDisk]:
    with small_disk(bench.path / "disk") as made:
        yield made


def started(bench: Bench) -> Run:
    """All tasks run, and wait for the file `go`."""
    folder = bench.path / "tasks"
    folder.mkdir()
    (folder / "Tasks").write_text(TASKS * COUNT)
    run = bench.start(
        "-s",
        f"localhost:{COUNT}",
        "-p",
        "../disk/run",
        "--no-usage",  # it would take of the room that is meant for the status file
        "Tasks",
        program=["/bin/bash", "-c", 'cd tasks; exec "$@"', "x", *PYTHON],
    )
    run.until_exists(*(f"tasks/{i}.runs" for i in range(COUNT)))
    return run


@pytest.mark.parametrize("pages_left", [0, 1, 2])
def test_the_run_goes_on_by_itself_when_there_is_room_again(
    bench: Bench, disk: SmallDisk, pages_left: int
) -> None:
    run = started(bench)
    disk.fill(pages_left=pages_left)
    bench.file("go", "")
    run.until(lambda: "cannot write" in run.err(), "it says that it cannot write")
    assert "run_status.txt" in run.err() and "space" in run.err()
    assert run.process.poll() is None
    disk.make_room()
    result = run.end()
    assert result.code == 0, result.err
    assert bench.done("disk/run_status.txt") == list(range(COUNT))
    assert "again" in run.err()
    assert "Logging error" not in run.err() and "Traceback" not in run.err()


def test_a_signal_ends_a_run_whose_disk_stays_full(bench: Bench, disk: SmallDisk) -> None:
    run = started(bench)
    disk.fill(pages_left=1)
    bench.file("go", "")
    run.until(lambda: "cannot write" in run.err(), "it says that it cannot write")
    run.signal(signal.SIGTERM)
    result = run.end(20)
    assert result.code in (3, 143), result.err
    done = bench.done("disk/run_status.txt")  # whole lines only
    assert len(done) == len(set(done)) < COUNT
    assert " -r " in result.resume
    disk.make_room()
    again = bench.shell(f"cd tasks && {result.resume}")
    assert again.code == 0, again.err
    assert bench.done("disk/run_status.txt") == list(range(COUNT))


def test_a_disk_that_is_full_from_the_start(bench: Bench, disk: SmallDisk) -> None:
    disk.fill()
    run = bench.start("-s", "localhost:1", "-p", "disk/run", tasks="true\n")
    run.until(
        lambda: "cannot write" in run.err() or run.process.poll() is not None, "it says that it cannot write"
    )
    disk.make_room()
    result = run.end()
    assert "Traceback" not in result.err
    if result.code == 0:
        assert bench.done("disk/run_status.txt") == [0]
    else:
        assert result.code in (2, 3) and "space" in result.err
