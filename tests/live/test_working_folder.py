"""The working folder under the name by which the user came, and one that is removed and made again during a run."""

import json
import os
import sys
from pathlib import Path

import pytest
from disbatch_runs import PYTHON, Bench

from disbatch.runtime.folder import as_seen, enter_again, working_folder


@pytest.fixture
def linked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder has two names; this is the one of the user, the other one is `real`."""
    (tmp_path / "real" / "run").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "link" / "run")
    monkeypatch.setenv("PWD", str(tmp_path / "link" / "run"))
    return tmp_path / "link" / "run"


def test_the_name_of_the_user_counts(linked: Path) -> None:
    assert working_folder() == str(linked)
    (linked / "out").mkdir()
    assert as_seen("out/x") == f"{linked}/out/x" and as_seen("./x") == f"{linked}/x"
    assert as_seen("/tmp/x") == "/tmp/x"
    assert as_seen("../x") == f"{linked.parent}/x"  # there and back: no link is between


@pytest.mark.parametrize("named", ["", "relative", "/", "/nowhere", "{folder}/.", "{folder}/../run"])
def test_a_name_that_is_wrong_or_missing_does_not_count(
    linked: Path, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PWD", named.format(folder=linked))
    assert working_folder() == os.getcwd() == str(linked.parents[1] / "real" / "run")


def test_a_path_that_leads_up_through_a_link_is_as_the_kernel_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep" / "run").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep/run")
    monkeypatch.chdir(tmp_path / "link")
    monkeypatch.setenv("PWD", str(tmp_path / "link"))
    assert as_seen("../x") == str(tmp_path / "deep" / "x")


def test_the_run_is_known_by_the_name_of_the_user(bench: Bench) -> None:
    (bench.path / "real").mkdir()
    (bench.path / "link").symlink_to("real")
    bench.file("real/Tasks", "pwd > seen; pwd -P > kernel\n")
    hook = f'--on-event={sys.executable} -c \'import sys; open("event", "a").write(sys.stdin.read())\''
    line = " ".join(PYTHON) + f" -s localhost:1 -p run {json.dumps(hook)} Tasks"
    done = bench.shell(f"cd link && {line}")
    assert done.code == 0, done.err
    assert bench.read("real/seen").strip() == f"{bench.path}/link"
    assert f"{bench.path}/link/run" in bench.read("real/run_dbUtil.sh")
    assert f'"{bench.path}/link"' in bench.read("real/event")


def test_a_folder_that_was_removed_is_entered_again_once_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "w"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    enter_again(str(folder))  # it is not there yet
    folder.mkdir()
    enter_again(str(folder))
    assert os.getcwd() == str(folder)


def test_tasks_run_in_a_folder_that_was_removed_and_made_again(bench: Bench) -> None:
    folder = bench.path / "work"
    folder.mkdir()
    bench.file(
        "Tasks",
        f"rmdir {folder}; mkdir {folder}\n#DISBATCH BARRIER\n" + "pwd -P; touch $DISBATCH_TASKID.here\n" * 3,
    )
    line = " ".join(PYTHON) + f" -s localhost:2 -p {bench.path}/run {bench.path}/Tasks"
    done = bench.shell(f"cd work && {line}")
    assert done.code == 0, done.err
    assert sorted(path.name for path in folder.iterdir()) == ["2.here", "3.here", "4.here"]
    assert [row.returncode for row in bench.rows()] == [0] * 5
