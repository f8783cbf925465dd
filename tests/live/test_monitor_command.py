"""The monitor as people start it: in a real terminal (tmux) beside a real run, and where there is no terminal."""

import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import pytest
from disbatch_runs import DEADLINE_S, Bench, Run, wait_until

from disbatch.core.snapshot import read_snapshot

MONITOR = [sys.executable, "-m", "disbatch.monitor"]
WAIT = "until [ -e go ]; do sleep 0.02; done"
TASKS = f"echo no such thing >&2; exit 3\n: long; {WAIT}\n{WAIT}\ntrue\ntrue\n"


class Terminal:
    """A tmux of its own with one window."""

    def __init__(self, bench: Bench, width: int, height: int, name: str = "tmux") -> None:
        self._bench = bench
        self._tmux = ["tmux", "-S", str(bench.path / name), "-f", "/dev/null"]
        self._size = ["-x", str(width), "-y", str(height)]

    def start(self, command: str) -> None:
        env = self._bench.env | {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
        argv = [*self._tmux, "new-session", "-d", *self._size, command + "; echo code $?; cat"]
        subprocess.run(argv, cwd=self._bench.path, env=env, check=True)

    def text(self) -> str:
        shown = subprocess.run(
            [*self._tmux, "capture-pane", "-p"], capture_output=True, text=True, check=True
        )
        return shown.stdout

    def press(self, *keys: str) -> None:
        subprocess.run([*self._tmux, "send-keys", *keys], check=True)

    def resize(self, width: int, height: int) -> None:
        subprocess.run([*self._tmux, "resize-window", "-x", str(width), "-y", str(height)], check=True)

    def until(self, *parts: str, without: str = "\0") -> None:
        def there() -> bool:
            text = self.text()
            return all(part in text for part in parts) and without not in text

        wait_until(there, f"{parts} without {without!r} on the terminal", logs=self.text)

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True)


@pytest.fixture
def terminal(bench: Bench) -> Iterator[Terminal]:
    if shutil.which("tmux") is None:
        pytest.skip("there is no tmux")
    made = Terminal(bench, 80, 24)
    yield made
    made.close()


def begun(bench: Bench, *arguments: str) -> Run:
    run = bench.start_here(2, *arguments, tasks=TASKS)
    run.until_exists("run_status.txt", "run_kvsinfo.txt", "run_dbUtil.sh")
    run.until(bench.rows, "the first task has failed")
    return run


def test_a_run_is_watched_to_its_end(bench: Bench, terminal: Terminal) -> None:
    run = begun(bench)
    terminal.start("./run_dbUtil.sh --mon")
    terminal.until("run  0:", "running", "0 ok  1 failed", "2/2 slots busy", "2 waiting", ": long", "q Quit")
    terminal.press("3", "Enter")
    terminal.until("Failed task 0", "no such thing")
    terminal.press("Escape")
    terminal.until("1 Engines 1", without="Failed task 0")
    terminal.press("1")
    terminal.until("running", "2/2", "Heard")
    terminal.resize(160, 50)
    terminal.until("no such thing", ": long", "Limit", "Memory")
    terminal.resize(80, 24)
    terminal.until("Heard", without="Limit")
    bench.file("go", "")
    terminal.until("ended: 5 tasks: 4 ok, 1 failed", "4 ok  1 failed", "100%  5/5")
    assert run.end().code == 0
    terminal.press("3")
    terminal.until("ended: 5 tasks: 4 ok, 1 failed", "no such thing")
    terminal.press("q")
    terminal.until("code 0")


def test_an_engine_is_stopped_and_the_run_takes_note(bench: Bench, terminal: Terminal) -> None:
    run = begun(bench)
    terminal.start("./run_dbUtil.sh --mon")
    terminal.until(": long")
    terminal.press("1", "x")
    terminal.until("Stop engine 0", "2 running tasks finish", "Cancel")
    terminal.press("y")
    terminal.until("stopping")
    bench.file("go", "")
    done = run.end()
    assert done.code == 3 and bench.done() == [0, 1, 2]
    terminal.until("ended: no engine is left", "2 ok  1 failed", "2 not run")


def test_several_watch_one_run_and_one_that_leaves_is_not_missed(bench: Bench, terminal: Terminal) -> None:
    other = Terminal(bench, 120, 40, "other")
    try:
        run = begun(bench)
        for one in (terminal, other):
            one.start("./run_dbUtil.sh --mon")
        for one in (terminal, other):
            one.until("0 ok  1 failed", "2/2 slots busy", "2 waiting", ": long")
        other.until("no such thing")
        terminal.press("1", "x")
        terminal.until("Stop engine 0")
        terminal.press("y")
        for one in (terminal, other):  # what one does all are shown
            one.until("stopping")
        terminal.press("q")
        terminal.until("code 0")
        bench.file("go", "")
        other.until("ended: no engine is left", "2 ok  1 failed", "2 not run")
        assert run.end().code == 3
    finally:
        other.close()


def test_a_driver_that_is_killed_is_missed_and_tried_again(bench: Bench, terminal: Terminal) -> None:
    run = begun(bench)
    terminal.start("./run_dbUtil.sh --mon")
    terminal.until("2/2 slots busy")
    run.kill()
    terminal.until("no contact since", "2/2 slots busy")
    (bench.path / "run_kvsinfo.txt").unlink()  # what the end of a run does
    terminal.until("the run has ended")
    bench.file("go", "")


def test_as_a_page_where_there_is_no_terminal(bench: Bench) -> None:
    run = begun(bench)
    for arguments in (["run"], ["run", "--once"], ["run_kvsinfo.txt"], ["run_status.txt"]):
        shown = bench.run(*arguments, program=MONITOR)
        assert shown.code == 0 and "\x1b" not in shown.out, shown
        for part in (
            "run: running",
            "1 of 5 tasks finished",
            "Engines (1)",
            ": long",
            "no such thing",
            "Load",
        ):
            assert part in shown.out, shown.out
    bench.file("go", "")
    run.end()
    over = bench.run("run", program=MONITOR)
    assert (
        over.code == 0
        and "has ended" in over.out
        and "run_status.txt" in over.out
        and over.out.count("\n") == 1
    )


def test_as_json(bench: Bench) -> None:
    run = begun(bench)
    shown = bench.run("run", "--json", program=MONITOR)
    assert shown.code == 0 and shown.out.count("\n") == 1
    snapshot = read_snapshot(shown.out)
    assert (snapshot.failed, snapshot.running, snapshot.total) == (1, 2, 5)
    body = json.loads(shown.out)
    assert (
        body["engines"][0]["node"] == os.uname().nodename and body["failures"][0]["error"] == "no such thing"
    )
    bench.file("go", "")
    run.end()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(["nowhere"], 2, "there is no run"), ([], 2, "RUN"), (["run", "--nope"], 2, "--nope")],
)
def test_mistakes_are_one_line(bench: Bench, arguments: list[str], code: int, words: str) -> None:
    shown = bench.run(*arguments, program=MONITOR)
    assert shown.code == code and words in shown.err and shown.err.count("\n") == 1 and shown.out == ""


def test_a_driver_that_is_gone_is_one_line(bench: Bench) -> None:
    run = begun(bench)
    run.kill()
    bench.file("go", "")
    shown = bench.run("run", "--once", program=MONITOR)
    assert (
        shown.code == 3
        and f"is dead: process {run.pid} has ended" in shown.err
        and shown.err.count("\n") == 1
    )


def test_without_textual_it_says_what_to_install(bench: Bench) -> None:
    run = begun(bench)
    blind = (
        "import sys, importlib.util as u; real = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'textual' else real(name, *more)\n"
        "from disbatch.ctl import main; sys.exit(main(['run', '--mon']))"
    )
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", blind], cwd=bench.path, env=bench.env, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        try:
            seen += os.read(master, 65536)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert (
        process.wait(10) == 2
        and f"{sys.executable} -m pip install textual (--once".encode() in seen
        and seen.count(b"\n") == 1
    )
    bench.file("go", "")
    run.end()


def test_the_info_file_of_somebody_else_is_one_line(bench: Bench) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can play two users")
    nobody = (
        "import os, sys; import disbatch.runtime.control, disbatch.monitor.command; from disbatch.ctl import main\n"
        "os.setuid(65534); sys.exit(main([sys.argv[1], '--mon', '--once']))"
    )
    with tempfile.TemporaryDirectory() as folder:  # pytest's own can be entered by nobody else at all
        os.chmod(folder, 0o755)
        prefix = os.path.join(folder, "run")
        run = bench.start("-s", "localhost:1", "-p", prefix, tasks=f"{WAIT}\n")
        run.until(lambda: os.path.exists(prefix + "_kvsinfo.txt"), "the run has begun")
        shown = bench.run(prefix, program=[sys.executable, "-c", nobody])
        bench.file("go", "")
        run.end()
    assert shown.code == 3 and "only the user who started the run can read it" in shown.err
    assert shown.err.count("\n") == 1
