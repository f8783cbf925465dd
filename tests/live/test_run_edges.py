"""Where machines and people are odd: no descriptors left, named pipes, nohup, names that are no UTF-8, strangers at the port."""

import os
import re
import signal
import socket
import stat
import subprocess

import pytest
from disbatch_runs import PYTHON, Bench, Run, processes_of

WAIT = "touch $DISBATCH_TASKID.runs; until [ -e go ]; do sleep 0.02; done"


def test_a_task_that_cannot_be_started_has_the_errno_and_no_pid(bench: Bench) -> None:
    # with so small a stack the kernel takes 128 KiB of arguments and environment together
    bench.file("Tasks", f"true\n: {'x' * 120_000}\ntrue\n")
    script = f"ulimit -s 400; exec {' '.join(PYTHON)} -s localhost:1 -p run Tasks"
    result = bench.run("-c", script, program=["/bin/bash"], env={"PAD": "y" * 20_000})
    assert result.code == 0, result.err
    assert [(row.pid > 0, row.returncode) for row in bench.rows()] == [(True, 0), (False, 7), (True, 0)]
    assert (bench.row(1).pid, bench.row(1).flags) == (-1, "R   ")
    assert "Argument list too long" in bench.row(1).err


def test_a_named_pipe_as_the_task_file(bench: Bench) -> None:
    os.mkfifo(bench.path / "Tasks")
    run = bench.start_here(1, "Tasks")
    with open(bench.path / "Tasks", "wb", buffering=0) as pipe:
        pipe.write(b"touch a\n")
        run.until_exists("a")
        pipe.write(b"touch b\n")
        run.until_exists("b")
    assert run.end().code == 0 and bench.done() == [0, 1]


def test_an_interrupt_before_anything_has_started(bench: Bench) -> None:
    """Nobody writes to the named pipe, so that opening it waits."""
    os.mkfifo(bench.path / "Tasks")
    run = bench.start_here(1, "Tasks")
    run.until(lambda: opens_a_pipe(run), "it waits for the pipe")
    run.signal(signal.SIGINT)
    result = run.end(5)
    assert result.code == 130 and len(result.err.splitlines()) == 1
    assert not list(bench.path.glob("run_*"))


def opens_a_pipe(run: Run) -> bool:
    """Whether the process waits in the kernel for the other end of a named pipe."""
    with open(f"/proc/{run.pid}/wchan") as file:
        return "partner" in file.read()


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_run_whose_pipe_stays_open(bench: Bench, signum: int, code: int) -> None:
    run = bench.start_here(1, "-", stdin=subprocess.PIPE)
    run.feed("touch a\n")
    run.until(lambda: (bench.path / "run_status.txt").exists() and bench.done() == [0], "the task is done")
    run.signal(signum)
    run.until_ended()
    result = run.end()
    assert result.code == code and "standard input" in result.last


def test_nohup(bench: Bench) -> None:
    """Whoever starts disBatch with nohup wants it to outlive the terminal."""
    bench.file("Tasks", f"{WAIT}\n")
    run = bench.start("-s", "localhost:1", "-p", "run", "Tasks", program=["nohup", *PYTHON])
    run.until_exists("0.runs")
    run.signal(signal.SIGHUP)
    bench.file("go", "")
    result = run.end()
    assert result.code == 0 and bench.done() == [0]


def test_a_list_of_nothing_but_start_commands_runs_them(bench: Bench) -> None:
    tasks = "#DISBATCH PERENGINE START echo up >> log\n#DISBATCH PERENGINE STOP echo down >> log\n"
    assert bench.here(1, tasks=tasks).code == 0
    assert bench.read("log").split() == ["up", "down"]


def test_an_interrupt_while_a_start_command_runs(bench: Bench) -> None:
    tasks = f"#DISBATCH PERENGINE START {WAIT}\n#DISBATCH PERENGINE START touch never\n#DISBATCH PERENGINE STOP touch down\ntouch never\n"
    run = bench.start_here(1, tasks=tasks)
    run.until_exists("0.runs")
    run.signal(signal.SIGINT)
    run.until(lambda: "interrupted" in run.err(), "the signal is heard")
    bench.file("go", "")
    result = run.end(10)
    assert result.code == 130 and (bench.path / "down").exists() and not (bench.path / "never").exists()


# -- names and encodings


@pytest.mark.parametrize("name", [b"list \xff", "Lïst ü".encode(), b"-list"])
def test_names_of_any_bytes(bench: Bench, name: bytes) -> None:
    (bench.path / os.fsdecode(name)).write_bytes(b"true\n[ -e ok ]\n")
    result = bench.run("-s", "localhost:1", "--", os.fsdecode(name), env={"DISBATCH_SSH_JOBID": "J"})
    assert result.code == 0 and "Traceback" not in result.err
    assert len(bench.rows(os.fsdecode(name) + "_J_status.txt")) == 2


@pytest.mark.parametrize(
    "env", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_a_terminal_that_takes_ascii_only(bench: Bench, env: dict[str, str]) -> None:
    result = bench.here(1, tasks="echo 'naïve ÿ' >&2; exit 3\n", env=env)
    assert result.code == 0 and "Traceback" not in result.err and "exit code 3" in result.out
    result = bench.here(1, tasks="#DISBATCH NOPE ü\n", env=env)
    assert result.code == 2 and "Traceback" not in result.err
    result = bench.here(1, "--dry-run", tasks="echo ü\n", env=env)
    assert result.code == 0 and "Traceback" not in result.err


# -- the KVS of a run


def kvsinfo(bench: Bench, run: Run) -> dict[str, str]:
    path = bench.path / "run_kvsinfo.txt"
    run.until(lambda: path.exists() and "END CERTIFICATE" in path.read_text(), "the info file is there")
    first, *more = path.read_text().splitlines()
    return {"first": first} | dict(line.split(" ", 1) for line in more[:3])


def test_the_info_file_is_private_and_goes_with_the_run(bench: Bench) -> None:
    run = bench.start_here(1, tasks=WAIT)
    info = kvsinfo(bench, run)
    assert re.fullmatch(r"\S+:\d+", info["first"]) and info["first"] in info["addresses"].split()
    assert re.fullmatch(r"[0-9a-f]{32,}", info["token"]) and info["run"]
    assert stat.S_IMODE((bench.path / "run_kvsinfo.txt").stat().st_mode) == 0o600
    run.until_exists("0.runs")
    token = info["token"]
    assert all(
        token not in path.read_text(errors="replace")
        for path in bench.path.iterdir()
        if path.name != "run_kvsinfo.txt"
    )
    for pid in processes_of(str(bench.path.parent)):
        for what in ("environ", "cmdline"):
            with open(f"/proc/{pid}/{what}", "rb") as file:
                assert token.encode() not in file.read()
    bench.file("go", "")
    assert run.end().code == 0
    assert not (bench.path / "run_kvsinfo.txt").exists()


def test_use_address_is_where_the_kvs_listens(bench: Bench) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = bench.start_here(1, "--use-address", f"localhost:{port}", tasks=WAIT)
    assert kvsinfo(bench, run)["first"].endswith(f":{port}")
    bench.file("go", "")
    assert run.end().code == 0


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.0\r\n\r\n", b"dump", b"down", os.urandom(5000)])
def test_strangers_at_the_port_disturb_nobody(bench: Bench, said: bytes) -> None:
    run = bench.start_here(1, tasks=f"{WAIT}\ntouch b\n")
    host, _, port = kvsinfo(bench, run)["first"].rpartition(":")
    strangers = [socket.create_connection((host, int(port))) for _ in range(5)]
    try:
        for stranger in strangers:
            stranger.sendall(said)
        bench.file("go", "")
        result = run.end()
    finally:
        for stranger in strangers:
            stranger.close()
    assert result.code == 0 and bench.done() == [0, 1] and "Traceback" not in result.err
    assert "Traceback" not in bench.read("run_driver.txt")


def test_the_logs_of_a_plain_run_hold_no_error(bench: Bench) -> None:
    bench.here(2, tasks="true\nfalse\n#DISBATCH BARRIER\ntrue\n")
    for path in bench.path.glob("run_*.txt"):
        assert not re.search(r"ERROR|WARNING|Traceback", path.read_text()), path.read_text()


def test_term_to_everything_of_a_job_stops_tasks_and_fails_none(bench: Bench) -> None:
    """As schedulers that track every process do it: tasks first, then engine, then driver."""
    tasks = "echo $$ > $DISBATCH_TASKID.pid; sleep 100\n" * 2
    run = bench.start_here(2, tasks=tasks)
    run.until_exists("0.pid", "1.pid")
    run.until(lambda: all(bench.read(f"{n}.pid").strip() for n in (0, 1)), "both have said who they are")
    _, engine = run.engine_pids()
    for pid in (int(bench.read("0.pid")), int(bench.read("1.pid")), engine, run.pid):
        os.kill(pid, signal.SIGTERM)
    done = run.end()
    assert done.code == 143, done.err
    assert bench.rows() == []
    assert "-r run_status.txt" in done.out.splitlines()[-1]
