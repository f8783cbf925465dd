"""Another user of the machine, who may create files where a run has its own (a folder like /tmp): none is believed, and
none is written into."""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from disbatch_runs import ROOT, Bench, Run, processes_of, wait_until

from disbatch.importpath import arguments, bootstrap

STRANGER = 54_321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of another user")
HOST = os.uname().nodename


@pytest.fixture
def sticky(bench: Bench) -> Iterator[Bench]:
    os.chmod(bench.path, 0o1777)
    yield bench


def give_away(path: Path) -> None:
    os.chown(path, STRANGER, -1, follow_symlinks=False)


def running(bench: Bench, prefix: str) -> Run:
    """Another run of the same user; its task ends with the file `go`."""
    bench.file("Long", "touch begun; until [ -e go ]; do sleep 0.02; done\n")
    run = bench.start("-s", "localhost:1", "-p", prefix, "Long")
    run.until_exists("begun", f"{prefix}_kvsinfo.txt")
    return run


def plant(bench: Bench, text: str, name: str = "run_kvsinfo.txt") -> None:
    path = bench.file(name, text)
    path.chmod(0o644)
    give_away(path)


# -- what is read


@needs_root
def test_the_script_of_a_finished_run_brings_no_machine_to_a_strangers_run(sticky: Bench) -> None:
    assert sticky.here(1, tasks="true\n").code == 0
    sticky.file("Theirs", "touch stolen\n")
    theirs = sticky.start("-S", "-p", "theirs", "Theirs")
    theirs.until_exists("theirs_kvsinfo.txt")
    plant(sticky, sticky.read("theirs_kvsinfo.txt"))
    for words in (("-s", "localhost:1"), ("--status",), ("--stop-engine", "0")):
        told = sticky.run(*words, program=["./run_dbUtil.sh"])
        assert told.code == 3 and f"belongs to user id {STRANGER}" in told.err, told.err
        assert "run_kvsinfo.txt" in told.err and told.err.count("\n") == 1
    assert not (sticky.path / "stolen").exists()
    theirs.signal(signal.SIGTERM)
    theirs.end()


@needs_root
def test_a_resume_kills_nothing_that_a_strangers_file_names(sticky: Bench) -> None:
    assert sticky.here(1, tasks="true\n").code == 0
    other = running(sticky, "other")
    words = dict(line.split(" ", 1) for line in sticky.read("other_kvsinfo.txt").splitlines() if " " in line)
    plant(
        sticky,
        f"127.0.0.1:9\nrun 1\ndriver {HOST} 1 0\nsession {words['session']}\nlease 300\nnode local {HOST}\n",
    )
    told = sticky.run("-s", "localhost:1", "-p", "again", "-r", "run_status.txt", "Tasks")
    assert told.code == 2 and f"belongs to user id {STRANGER}" in told.err and "run_kvsinfo.txt" in told.err
    sticky.file("go", "")
    assert other.end().code == 0
    assert len(sticky.rows("other_status.txt")) == 1, "its task ran once, to its end"
    assert "no engine" not in other.err() and "lost" not in other.err()
    # what the message says helps
    (sticky.path / "mine").mkdir()
    shutil.copy(sticky.path / "run_status.txt", sticky.path / "mine")
    assert sticky.run("-s", "localhost:1", "-p", "again", "-r", "mine/run_status.txt", "Tasks").code == 0


@pytest.mark.parametrize(
    ("line", "quoted"),
    [
        ("node ssh -oProxyCommand=touch${IFS}stolen", "-oProxyCommand=touch${IFS}stolen"),
        ("node ssh a;b", "a;b"),
        ("node slurm n1,n2", "n1,n2"),
        ("session ab", "ab"),
        ("session ../../../etc/abcd", "../../../etc/abcd"),
    ],
)
def test_names_in_an_info_file_are_checked_before_they_are_used(bench: Bench, line: str, quoted: str) -> None:
    assert bench.here(1, tasks="true\n").code == 0
    session = "" if line.startswith("session") else "session 0123456789abcdef\n"
    path = bench.file("run_kvsinfo.txt", f"h:9\nrun 1\ndriver {HOST} 1 0\nlease 300\n{session}{line}\n")
    path.chmod(0o600)
    told = bench.run("-s", "localhost:1", "-p", "again", "-r", "run_status.txt", "Tasks")
    assert told.code == 2 and "run_kvsinfo.txt is damaged" in told.err and repr(quoted) in told.err, told.err
    assert not (bench.path / "stolen").exists()


@needs_root
def test_a_strangers_status_file_is_not_resumed_until_it_is_copied(sticky: Bench) -> None:
    assert sticky.here(1, tasks="true\nfalse\n").code == 0
    status = sticky.path / "run_status.txt"
    give_away(status)
    again = ("-s", "localhost:1", "-p", "again", "-r")
    told = sticky.run(*again, "run_status.txt", "Tasks")
    assert told.code == 2 and f"belongs to user id {STRANGER}" in told.err and "use a copy" in told.err
    assert not list(sticky.path.glob("again*"))
    shutil.copy(status, sticky.path / "copy_status.txt")
    assert sticky.run(*again, "copy_status.txt", "-R", "Tasks").code == 0
    assert [row.returncode for row in sticky.rows("again_status.txt")] == [0, 1]


def test_what_else_is_no_status_file_to_resume(bench: Bench) -> None:
    assert bench.here(1, tasks="true\n").code == 0
    (bench.path / "link").symlink_to("run_status.txt")
    os.mkfifo(bench.path / "pipe")
    for name, said in (("link", "symbolic link"), ("pipe", "it is a pipe"), ("/dev/stdin", "symbolic link")):
        told = bench.run("-s", "localhost:1", "-p", "again", "-r", name, "Tasks")
        assert told.code == 2 and said in told.err and name in told.err, told.err
        assert told.err.count("\n") == 1
    (bench.path / "run_status.txt").chmod(0o646)
    told = bench.run("-s", "localhost:1", "-p", "again", "-r", "run_status.txt", "Tasks")
    assert told.code == 2 and "others can write it" in told.err and "chmod o-w" in told.err


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077])
def test_own_files_are_believed_whatever_the_umask(bench: Bench, umask: int) -> None:
    assert bench.here(1, tasks="true\nfalse\n", umask=umask).code == 0
    done = bench.run("-s", "localhost:1", "-p", "again", "-r", "run_status.txt", "-R", "Tasks", umask=umask)
    assert done.code == 0 and len(bench.rows("again_status.txt")) == 2, done.err
    assert [path.name for path in bench.path.glob("*_*") if path.stat().st_mode & 0o002] == []


@needs_root
def test_a_job_that_was_requeued_does_not_go_on_from_a_strangers_file(sticky: Bench) -> None:
    sticky.file("Tasks", "touch ran\n")
    row = " S   \t0\t0\t-1\tn\t1\t0\t0.1\t1.0\t1.1\t0\t''\t0\t''\ttouch ran\n"
    plant(sticky, row, "Tasks_42_status.txt")
    slurm = {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": "1"}
    told = sticky.run("-s", "localhost:1", "Tasks", env=slurm)
    assert told.code == 2 and f"belongs to user id {STRANGER}" in told.err, told.err


@needs_root
def test_nor_takes_it_for_its_own_what_a_strangers_log_says_is(sticky: Bench) -> None:
    sticky.file("Tasks", "touch ran\n")
    plant(sticky, " S   \t0\t0\t-1\tn\t1\t0\t0.1\t1.0\t1.1\t0\t''\t0\t''\ttouch ran\n", "run_status.txt")
    plant(sticky, "run 42 of Tasks begins; status file run_status.txt\n", "run_driver.txt")
    slurm = {"SLURM_JOB_ID": "42", "SLURM_RESTART_COUNT": "1"}
    told = sticky.run("-s", "localhost:1", "-p", "run", "Tasks", env=slurm)
    # nor is it moved aside, as a file of this user's would be
    assert told.code == 2 and "run_status.txt is in the way" in told.err, told.err
    assert f"belongs to user id {STRANGER}" in told.err and not (sticky.path / "ran").exists()


@needs_root
@pytest.mark.parametrize("name", ["run_kvsinfo.txt", "run_status.txt"])
def test_a_driver_takes_over_no_strangers_run(sticky: Bench, name: str) -> None:
    command = ("-S", "--reattach", "-p", "run")
    first = sticky.start(*command, tasks="true\n")
    first.until_exists("run_kvsinfo.txt", "run_dbUtil.sh")
    first.kill()
    give_away(sticky.path / name)
    told = sticky.run(*command, "Tasks")
    assert told.code in (2, 3) and f"belongs to user id {STRANGER}" in told.err and name in told.err, told.err


@needs_root
def test_a_server_named_by_a_strangers_file_is_not_used(sticky: Bench) -> None:
    plant(sticky, "127.0.0.1:9\n", "info")
    sticky.file("Tasks", "true\n")
    told = sticky.run("-s", "localhost:1", "--kvsserver", "info", "Tasks")
    assert told.code == 2 and f"belongs to user id {STRANGER}" in told.err
    client = [sys.executable, "-m", "kvsstcp"]
    told = sticky.run("client", "-v", "key", program=client, env={"KVSSTCP_INFO": str(sticky.path / "info")})
    assert told.code != 0 and f"belongs to user id {STRANGER}" in told.err


@needs_root
def test_an_engine_on_another_host_believes_no_stranger(sticky: Bench) -> None:
    plant(sticky, f"127.0.0.1:9\ntoken {'ab' * 32}\n")
    facts = {
        "did": "0123456789abcdef", "job_id": "1", "tasks_job_id": "1", "task_name": "Tasks", "prefix": str(sticky.path / "run"),
        "folder": str(sticky.path), "grace_s": 1.0, "loglevel": "INFO",
    }  # fmt: skip
    order = json.dumps({"facts": facts})
    told = sticky.run(*arguments(str(ROOT)), order, program=[*bootstrap("engine")])
    assert told.code == 3 and "does not see the files" in told.err and f"user id {STRANGER}" in told.err


# -- what is written


def test_a_link_in_the_place_of_the_usage_file_is_not_followed(bench: Bench) -> None:
    bench.file("precious", "as it was\n")
    done = bench.here(1, tasks="ln -s precious run_usage.txt\ntrue\n")
    assert done.code == 0 and bench.read("precious") == "as it was\n"
    assert "run_usage.txt" in done.err and "symbolic link" in done.err


def test_a_link_in_the_place_of_the_status_file_is_not_followed(bench: Bench) -> None:
    bench.file("precious", "")
    run = bench.start_here(1, tasks="mv run_status.txt kept; ln -s precious run_status.txt\ntrue\n")
    run.until(lambda: "symbolic link" in run.err(), "it is said")
    assert bench.read("precious") == ""
    (bench.path / "run_status.txt").unlink()
    assert run.end().code == 0
    assert bench.done() == [0, 1] and bench.read("precious") == ""


@needs_root
def test_nor_is_a_strangers_file_in_its_place(sticky: Bench) -> None:
    run = sticky.start_here(
        1, tasks=f"mv run_status.txt kept; touch new; chown {STRANGER} new; mv new run_status.txt\ntrue\n"
    )
    run.until(lambda: f"belongs to user id {STRANGER}" in run.err(), "it is said")
    (sticky.path / "run_status.txt").unlink()
    assert run.end().code == 0
    assert sticky.done() == [0, 1]


def test_an_engine_does_not_write_its_log_through_a_link(bench: Bench) -> None:
    run = bench.start("-S", "-p", "run", tasks="true\n")
    run.until_exists("run_kvsinfo.txt", "run_dbUtil.sh")
    bench.file("precious", "as it was\n")
    for name in (f"run_{HOST}_engine.txt", f"run_mine_{HOST}_engine.txt"):
        (bench.path / name).symlink_to("precious")
    joined = bench.start("-s", "localhost:1", "-l", "mine", program=["./run_dbUtil.sh"])
    wait_until(lambda: "cannot write its log" in joined.err() + run.err(), "it is said", logs=run.logs)
    told = joined.err() + run.err()
    assert f"run_mine_{HOST}_engine.txt: it is a symbolic link" in told
    assert bench.read("precious") == "as it was\n"
    run.signal(signal.SIGTERM)
    run.end()
    joined.end()


@needs_root
def test_a_log_that_the_user_names(sticky: Bench) -> None:
    sticky.file("precious", "as it was\n")
    link = sticky.path / "log"
    link.symlink_to("precious")
    give_away(link)
    told = sticky.here(1, "--logfile", "log", tasks="true\n")
    assert told.code == 2 and f"symbolic link of user id {STRANGER}" in told.err
    assert sticky.read("precious") == "as it was\n"
    assert not list(sticky.path.glob("run_*"))
    link.unlink()
    link.symlink_to("elsewhere")
    assert sticky.here(1, "--logfile", "log", tasks="true\n").code == 0
    assert "run " in sticky.read("elsewhere")
    done = sticky.run("-s", "localhost:1", "-p", "err", "--logfile", "/dev/stderr", "Tasks")
    assert done.code == 0 and " of Tasks begins" in done.err
    assert sticky.run("-s", "localhost:1", "-p", "none", "--logfile", "/dev/null", "Tasks").code == 0


def test_the_page_of_a_report_takes_no_links_place(bench: Bench) -> None:
    assert bench.here(1, tasks="true\n").code == 0
    bench.file("precious", "as it was\n")
    (bench.path / "page.html").symlink_to("precious")
    report = [sys.executable, "-m", "disbatch.report"]
    told = bench.run("--html", "page.html", "run_status.txt", program=report)
    assert told.code == 3 and "cannot write the page page.html: a symbolic link" in told.err
    assert bench.read("precious") == "as it was\n" and (bench.path / "page.html").is_symlink()
    assert not list(bench.path.glob("*.part"))


# -- the same for a user who is not root


# This user may read what root may: the interpreter can stand in a folder that is root's alone.
AS_USER = [
    *("setpriv", f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
    *(sys.executable, "-m", "disbatch"),
]


@pytest.fixture
def users_bench() -> Iterator[Bench]:
    """A bench of the user STRANGER. The test's own folder is closed to others."""
    with tempfile.TemporaryDirectory(prefix="disbatch-stranger-") as name:
        os.chmod(name, 0o755)
        bench = Bench(Path(name))
        os.chmod(bench.path, 0o1777)
        yield bench
        bench.close()
        wait_until(lambda: not processes_of(name), "no process of this test is left")


@needs_root
def test_a_user_believes_root_and_nobody_else(users_bench: Bench) -> None:
    bench = users_bench
    home = {"HOME": str(bench.path)}
    assert bench.here(1, tasks="true\n").code == 0
    again = ("-s", "localhost:1", "-p", "again", "-r", "run_status.txt", "Tasks")
    assert bench.run(*again, program=AS_USER, env=home).code == 0
    assert bench.rows("again_status.txt")[0].flags.strip() == "S"
    os.chown(bench.path / "run_status.txt", STRANGER + 1, -1)
    told = bench.run(*again, program=AS_USER, env=home)
    assert told.code == 2 and f"user id {STRANGER + 1}, not to you (user id {STRANGER})" in told.err
    os.chown(bench.path / "again_status.txt", 0, -1)
    # a file that the other user may write, by its mode, in a folder where all may
    other = bench.file("log", "")
    other.chmod(0o666)
    os.chown(other, STRANGER + 1, -1)
    told = bench.run("-s", "localhost:1", "--logfile", "log", "Tasks", program=AS_USER, env=home)
    assert told.code == 2 and f"user id {STRANGER + 1}" in told.err
    assert bench.read("log") == ""


# -- what ssh is told


def test_a_host_that_looks_like_an_option_is_refused_and_ssh_is_told_where_options_end(bench: Bench) -> None:
    bench.file("Tasks", "true\n")
    for host in ("-oProxyCommand=touch stolen", "-F", "me@-oX", "a b", "a$(touch stolen)", "a\tb"):
        told = bench.run(f"-s{host}:1", "Tasks")
        assert told.code == 2 and "no host name that can be used" in told.err, told.err
    folder = bench.path / "bin"
    folder.mkdir()
    fake = folder / "ssh"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > told\necho refused >&2; exit 255\n')
    fake.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    bench.run("-s", "somewhere:1", "-p", "run", "Tasks", env={"PATH": path})
    words = bench.read("told").split("\n")
    assert words[words.index("somewhere") - 1] == "--"
    assert not (bench.path / "stolen").exists()
