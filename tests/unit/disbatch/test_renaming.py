"""Files of an earlier run make room for the newest: all of them, none overwritten, and a crash at any moment loses nothing."""

import contextlib
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from disbatch.core.errors import MachineError, UsageError
from disbatch.runtime import renaming
from disbatch.runtime.claim import claim
from disbatch.runtime.files import claimed_before
from kvsstcp.infofile import Info, write_info

ENDINGS = (
    "status.txt",
    "driver.txt",
    "vm_engine.txt",
    "dbUtil.sh",
    "kvsinfo.txt",
    "url",
    "usage.txt",
    "limits.txt",
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def take(prefix: str = "run", *, requeued: bool = False) -> str:
    """Begin a run and end it. Return where the files of the one before are now."""
    files, descriptor = claim(prefix, "Tasks", "42", None, requeued=requeued)
    os.close(descriptor)
    return files.aside


def leave(prefix: str, text: str) -> None:
    for ending in ENDINGS:
        Path(f"{prefix}_{ending}").write_text(f"{text} {ending}")


def all_there(prefix: str, text: str) -> bool:
    return all(Path(f"{prefix}_{ending}").read_text() == f"{text} {ending}" for ending in ENDINGS)


def contents() -> dict[str, str]:
    return {name: Path(name).read_text() for name in os.listdir(".")}


def dead_driver(prefix: str, host: str = "", *lines: str, job_id: str = "42") -> None:
    words = (
        f"driver {host or socket.gethostname()} 1 no-such-start",
        f"session {'0' * 16}",
        "lease 300",
        *lines,
    )
    write_info(f"{prefix}_kvsinfo.txt", Info((("127.0.0.1", 9),), run_id=job_id), words)


def test_the_newest_has_the_plain_name_and_the_others_numbers_by_age() -> None:
    for number in (1, 2, 3):
        Path("run_status.txt").write_text(f"of run {number}")
        Path("run_vm_engine.txt").write_text(f"of run {number}")
        assert take() == f"run.{number}"
    for number in (1, 2, 3):
        assert Path(f"run.{number}_status.txt").read_text() == f"of run {number}"
        assert Path(f"run.{number}_vm_engine.txt").read_text() == f"of run {number}"
    assert Path("run_status.txt").read_text() == "" and not os.path.exists("run_vm_engine.txt")
    earlier = ["run.1", "run.2", "run.3", "run"]
    assert [prefix for prefix, _ in claimed_before("run", "Tasks_42")] == earlier


def test_a_number_is_not_given_twice_as_it_tells_the_age() -> None:
    Path("run.7_status.txt").write_text("old")
    leave("run", "new")
    assert take() == "run.8" and all_there("run.8", "new")


def test_a_run_with_a_longer_name_keeps_its_files() -> None:
    leave("run", "mine")
    leave("run_b", "other")
    leave("run.b", "third")
    take()
    assert all_there("run.1", "mine") and all_there("run_b", "other") and all_there("run.b", "third")


def test_a_run_that_is_being_started_is_left_alone() -> None:
    files, descriptor = claim("run", "Tasks", "42", None)
    with pytest.raises(UsageError, match="the run of that name is not over") as caught:
        take()
    assert caught.value.exit_code == 2 and os.listdir(".") == ["run_status.txt"]
    os.close(descriptor)
    assert take() == files.prefix + ".1"


@pytest.mark.parametrize("lines", [(), ("reattach", 'folder "/"')])
def test_a_driver_elsewhere_that_may_live_is_left_alone(lines: tuple[str, ...]) -> None:
    """Nobody answers; only the time of its last word says whether it may be there."""
    leave("run", "precious")
    dead_driver("run", "far-away", *lines)
    before = contents()
    with pytest.raises(UsageError, match="is not over on far-away"):
        take()
    assert contents() == before
    assert take(requeued=True) == "run.1"


def test_a_driver_elsewhere_that_was_silent_for_long_is_dead() -> None:
    dead_driver("run", "far-away", "reattach")
    old = time.time() - 1000
    os.utime("run_kvsinfo.txt", (old, old))
    assert take() == "run.1"


def test_a_crashed_run_can_be_recognized_under_its_new_name() -> None:
    leave("run", "precious")
    dead_driver("run")
    assert take() == "run.1" and "driver" in Path("run.1_kvsinfo.txt").read_text()


def test_what_belongs_to_somebody_else_is_named() -> None:
    Path("elsewhere").write_text("")
    os.symlink("elsewhere", "run_status.txt")
    with pytest.raises(UsageError, match=r"run_status\.txt is in the way") as caught:
        take()
    assert caught.value.exit_code == 2 and os.path.islink("run_status.txt")


def test_a_file_that_cannot_be_renamed_is_an_error_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leave("run", "precious")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "run_url")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(MachineError, match="run_url: No space left"):
        take()
    assert all_there("run", "precious")


class Killed(BaseException):
    """In place of SIGKILL."""


CALLS = ("link", "unlink", "rename", "open")


@contextlib.contextmanager
def killed_after(count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The process ends before its next change of the folder when it has made `count` of them."""
    made: list[str] = []

    def counted(name: str):
        true = getattr(os, name)

        def call(*args, **kwargs):
            changes = name != "open" or args[1] & os.O_CREAT
            if changes and len(made) >= count:
                raise Killed
            made.extend([name] if changes else [])
            return true(*args, **kwargs)

        return call

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(name))
        yield made


@pytest.mark.parametrize("links", [True, False])
def test_a_crash_at_any_moment(links: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not links:

        def refuse(*_: object, **__: object) -> None:
            raise OSError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    for count in range(100):
        folder = tmp_path / str(count)
        folder.mkdir()
        monkeypatch.chdir(folder)
        leave("run", "first")
        dead = False
        with killed_after(count, monkeypatch):
            try:
                take()
            except Killed:
                dead = True
        if not dead:
            break
        if links:
            assert os.path.exists("run_status.txt"), count
        begun = Path("run_status.txt").exists() and Path("run_status.txt").read_text() == ""
        aside = take()
        # the new run had begun already: its empty status file is the only one beside the first run's
        assert aside == ("run.2" if begun else "run.1" if links else aside), count
        assert all_there("run.1", "first"), count
        others = set(os.listdir(".")) - {f"run.1_{ending}" for ending in ENDINGS}
        assert others == {"run_status.txt"} | ({"run.2_status.txt"} if begun else set()), count
    assert 15 < count < 99


def test_of_many_that_start_at_once_one_goes_on(tmp_path: Path) -> None:
    leave("run", "first")
    children = []
    gate, opened = os.pipe()
    held, let_go = os.pipe()
    for _ in range(12):
        pid = os.fork()
        if not pid:
            code = 9
            try:
                os.close(opened)
                os.close(let_go)
                os.read(gate, 1)  # until all are there
                try:
                    claim("run", "Tasks", "42", None)
                    code = 0
                except UsageError:
                    code = 2
                if not code:
                    os.read(held, 1)
            finally:
                os._exit(code)
        children.append(pid)
    os.close(gate)
    os.close(opened)
    codes = []
    for _ in range(11):  # the twelfth holds the name until it is let go
        pid, status = os.waitpid(-1, 0)
        children.remove(pid)
        codes.append(os.waitstatus_to_exitcode(status))
    os.close(let_go)
    os.close(held)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))
    assert sorted(codes) == [0] + [2] * 11
    assert all_there("run.1", "first") and Path("run_status.txt").read_text() == ""
    assert set(os.listdir(".")) == {f"run.1_{e}" for e in ENDINGS} | {"run_status.txt"}


def test_without_locks_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    leave("run", "first")
    assert take() == "run.1" and all_there("run.1", "first")


def test_somebody_else_may_take_the_number_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command, with `-p run.1`."""
    leave("run", "first")
    true = renaming._number
    taken = []

    def late(*arguments):
        number = true(*arguments)
        if not taken:
            taken.append(Path(f"run.{number}_status.txt").write_text("of another"))
        return number

    monkeypatch.setattr(renaming, "_number", late)
    assert take() == "run.2" and all_there("run.2", "first")
    assert Path("run.1_status.txt").read_text() == "of another"
