"""The usage file: one line a command, fields that agree with the status file, and a run that does without it."""

import errno
import os
from pathlib import Path

import pytest
from disbatch_builders import Driver, items, outcome

from disbatch.core.driver import DriverConfig, DriverCore
from disbatch.core.driver_events import EngineLaunched, Record
from disbatch.core.messages import Means, Report
from disbatch.core.status import format_record
from disbatch.core.usage import HEADER
from disbatch.runtime.usagefile import UsageFile

FIELDS = HEADER.decode().rstrip("\n").split("\t")


def with_usage() -> Driver:
    driver = Driver()
    driver.core = DriverCore(DriverConfig("did", "vm", 99, False, usage=True), None)
    return driver


def lines(driver: Driver) -> list[str]:
    return [line for effect in driver.effects if isinstance(effect, Record) for line in effect.usage]


def test_a_line_for_each_command_and_one_for_the_node() -> None:
    driver = with_usage()
    driver.happens(EngineLaunched(0, "node0", 2, "SSH0"))
    driver.hello(0, 2, demand=2, means=Means(3, 8, 1 << 20))
    driver.lists(*items(b"#DISBATCH PERENGINE START setup\ntrue\n#DISBATCH REPEAT 1 start 7 work\n"))
    driver.up(0, demand=2, reports=(Report(1, "A", 0, 1, outcome(), -1),))
    ended = outcome(3, cpu_s=1.25, peak_kib=4096)
    driver.up(0, demand=2, reports=(Report(2, "T", 1, 1, ended, 1),))
    node, start, task = lines(driver)
    assert node == "#node\tnode0\t0\t2\t8\t1048576\tSSH0\n"
    assert start.startswith("START\t0\t-1\t1\tnode0\t-1\t3\t0\t")
    found = dict(zip(FIELDS, task.rstrip("\n").split("\t"), strict=True))
    assert found["Kind"] == "task" and found["TaskID"] == "1" and found["RepeatIndex"] == "7"
    assert (found["Slot"], found["Cores"], found["ReturnCode"]) == ("1", "3", "3")
    assert (found["CPUSeconds"], found["PeakKiB"], found["PeakIs"]) == ("1.250", "4096", "=")
    status = format_record(driver.rows[-1]).decode().split("\t")
    assert (found["Node"], found["Elapsed"], found["Start"]) == (status[4], status[7], status[8])


def test_without_a_usage_file_nothing_is_made_for_it() -> None:
    driver = Driver()
    driver.engine()
    driver.lists(*items(b"true\n"))
    driver.finishes(0)
    assert driver.rows and lines(driver) == []


def test_the_attempt_is_the_one_that_counted() -> None:
    driver = with_usage()
    driver.engine(0)
    driver.engine(1)
    driver.lists(*items(b"one\ntwo\n"))
    driver.up(0, demand=1, returned=((0, 1),))
    driver.finishes(0, attempt=2)
    (line,) = [line for line in lines(driver) if line.startswith("task\t0\t")]
    assert line.split("\t")[3] == "2"


def test_a_file_that_cannot_be_written_is_told_once_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    file = UsageFile(str(tmp_path / "x_usage.txt"), told.append)
    file.append(b"one\n")
    write = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) > 2:
            return write(fd, data[:2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        file.append(b"two\n")
    file.append(b"three\n")
    file.close()
    assert told == ["No space left on device"]
    assert (tmp_path / "x_usage.txt").read_bytes() == HEADER + b"one\n"


def test_nothing_to_say_leaves_no_file(tmp_path: Path) -> None:
    UsageFile(str(tmp_path / "x_usage.txt"), print).close()
    assert list(tmp_path.iterdir()) == []
