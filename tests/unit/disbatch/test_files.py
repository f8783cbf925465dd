"""The names of a run's files, and that no run ever takes another's."""

import os
import stat
from pathlib import Path

import pytest

from disbatch.core.errors import DisBatchError, UsageError
from disbatch.runtime.files import RunFiles, claim, engine_log, make_job_id


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def take(
    prefix: str | None = None, name: str = "Tasks", job_id: str = "42", logfile: str | None = None
) -> RunFiles:
    files, descriptor = claim(prefix, name, job_id, logfile)
    status = os.fstat(descriptor)
    os.close(descriptor)
    assert stat.S_ISREG(status.st_mode) and status.st_ino == os.stat(files.status).st_ino
    return files


def test_the_default_is_taskfile_and_job_in_the_working_folder() -> None:
    files = take()
    assert (files.prefix, files.job_id, files.suffix) == ("./Tasks_42", "42", "")
    assert (files.status, files.log, files.kvsinfo) == (
        "./Tasks_42_status.txt",
        "./Tasks_42_driver.txt",
        "./Tasks_42_kvsinfo.txt",
    )


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("sub/", "sub/Tasks_42"),
        ("sub", "sub/Tasks_42"),
        ("sub/run", "sub/run"),
        ("run", "run"),
        (".", "./Tasks_42"),
        ("./", "./Tasks_42"),
    ],
)
def test_prefixes(prefix: str, expected: str) -> None:
    os.mkdir("sub")
    assert take(prefix).prefix == expected


@pytest.mark.parametrize("prefix", ["nowhere/", "nowhere/run"])
def test_a_missing_folder_is_an_error_and_is_not_made(prefix: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere") as caught:
        take(prefix)
    assert caught.value.exit_code == 2
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "ending",
    [
        "status.txt",
        "driver.txt",
        "vm_engine.txt",
        "dbUtil.sh",
        "kvsinfo.txt",
        "url",
        "usage.txt",
        "SSH0_vm_engine.txt",
    ],
)
def test_any_file_of_that_prefix_takes_it(ending: str) -> None:
    Path(f"run_{ending}").write_text("precious")
    files = take("run")
    assert (files.prefix, files.job_id, files.suffix) == ("run.2", "42.2", ".2")
    assert Path(f"run_{ending}").read_text() == "precious"


def test_the_next_free_number_is_found() -> None:
    assert [take("run").prefix for _ in range(4)] == ["run", "run.2", "run.3", "run.4"]
    os.remove("run.2_status.txt")
    assert take("run").prefix == "run.2"


@pytest.mark.parametrize("name", ["other_status.txt", "runner_status.txt", "run", "run.txt", "run_notes"])
def test_files_of_others_do_not_matter(name: str) -> None:
    Path(name).write_text("")
    assert take("./run").prefix == "./run"


def test_a_logfile_of_its_own() -> None:
    assert take(logfile="my.log").log == "my.log"


def test_a_folder_that_cannot_be_written_is_an_error() -> None:
    with pytest.raises(DisBatchError, match="/proc/run"):
        take("/proc/run")


def test_the_log_of_an_engine_takes_the_label_where_the_plain_name_is_taken() -> None:
    files = take("run")
    assert engine_log(files.prefix, "vm", "SSH0") == "run_vm_engine.txt"
    Path("run_vm_engine.txt").write_text("")
    assert engine_log(files.prefix, "vm", "SSH0") == "run_SSH0_vm_engine.txt"


def test_job_ids_differ_within_a_second() -> None:
    assert len({make_job_id() for _ in range(20)}) > 1
    assert all("/" not in make_job_id() and " " not in make_job_id() for _ in range(5))
