"""The names of a run's files, and that no run ever takes another's."""

import os
import stat
from pathlib import Path

import pytest

from disbatch.core.errors import DisBatchError, UsageError
from disbatch.runtime.claim import claim
from disbatch.runtime.files import RunFiles, engine_log, make_job_id


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def take(
    prefix: str | None = None, name: str = "Tasks", job_id: str = "42", logfile: str | None = None
) -> RunFiles:
    files, descriptor = claim(prefix, name, job_id, logfile)
    status = os.fstat(descriptor)
    os.close(descriptor)  # and so the run is over
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
def test_any_file_of_that_prefix_is_renamed(ending: str) -> None:
    Path(f"run_{ending}").write_text("precious")
    files = take("run")
    assert (files.prefix, files.job_id, files.suffix, files.aside) == ("run", "42", "", "run.1")
    assert Path(f"run.1_{ending}").read_text() == "precious"


def test_the_default_name_gets_a_number_where_it_is_taken() -> None:
    assert [take().prefix for _ in range(4)] == ["./Tasks_42", "./Tasks_42.2", "./Tasks_42.3", "./Tasks_42.4"]
    os.remove("Tasks_42.2_status.txt")
    files = take()
    assert (files.prefix, files.job_id, files.suffix) == ("./Tasks_42.2", "42.2", ".2")


def test_the_job_id_of_tasks_is_the_name_that_was_given() -> None:
    os.mkdir("sub")
    assert [take(prefix).tasks_job_id for prefix in ("run", "sub/run", "sub/", None)] == [
        "run",
        "run",
        "42",
        "42",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "other_status.txt",
        "runner_status.txt",
        "run",
        "run.txt",
        "run_notes",
        "run_other_usage.txt",
        "run_b_status.txt",
        "run_engine.txt",
    ],
)
def test_files_of_others_do_not_matter(name: str) -> None:
    Path(name).write_text("")
    files = take("./run")
    assert (files.prefix, files.aside) == ("./run", "") and os.path.exists(name)
    os.rename("run_status.txt", "sth")
    assert take(None, "run", "b").prefix == ("./run_b.2" if "run_b" in name else "./run_b")


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
