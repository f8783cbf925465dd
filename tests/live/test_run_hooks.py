"""The command of --on-event, run for real: what it is told, and that whatever it does costs the run little."""

import asyncio
import json
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from disbatch_runs import Bench, processes_of, wait_until

from disbatch.core.driver_events import EngineLost
from disbatch.core.joining import Answer
from disbatch.core.notable import RunEnd
from disbatch.core.snapshot import RunSnapshot
from disbatch.runtime.files import RunFiles
from disbatch.runtime.hooks import HookLimits, Hooks
from disbatch.runtime.observers import Watched
from disbatch.runtime.steering import Steering

KEEP = 'cat > "event.$DISBATCH_EVENT.$$"; mv "event.$DISBATCH_EVENT.$$" "$DISBATCH_EVENT.$$.json"'
SNAPSHOT = RunSnapshot(1.0, 1, 1, 0, 0, 0, 2, "", "running", ())
END = RunEnd("COMPLETE", "all tasks have been done", 0, SNAPSHOT, [], False)
LOST = EngineLost(0, "node0", "SSH0", 1, "killed by SIGKILL")


def events(folder: Path, name: str = "*") -> list[dict[str, Any]]:
    found = [json.loads(path.read_text()) for path in folder.glob(f"{name}.*.json")]
    return sorted(found, key=lambda told: float(told["time_s"]))


def test_failure_barrier_and_end_are_told(bench: Bench) -> None:
    tasks = "true\nexit 3\nexit 4\n#DISBATCH BARRIER\ntrue\n"
    result = bench.here(1, "-e", "--on-event", KEEP, tasks=tasks)
    assert (result.code, result.err) == (1, "")
    failure, barrier, end = events(bench.path)
    assert [told["event"] for told in (failure, barrier, end)] == ["first-failure", "barrier", "end"]
    assert (failure["task"]["task_id"], failure["task"]["exit_code"]) == (1, 3)
    assert (barrier["barrier"]["line"], barrier["done"], barrier["failed"]) == (4, 1, 2)
    assert (end["ending"], end["exit_code"], end["tasks_left"]) == ("COMPLETE", 1, False)
    assert (end["done"], end["failed"], len(end["failures"])) == (2, 2, 2)
    assert end["status_file"] == str(bench.path / "run_status.txt")


def test_lost_engine_is_told(bench: Bench) -> None:
    run = bench.start_here(
        1, "--on-event", KEEP, tasks="touch running; until [ -e gate ]; do sleep 0.02; done\n"
    )
    run.until_exists("running")
    os.kill(run.engine_pids()[1], signal.SIGKILL)
    run.until(lambda: events(bench.path, "engine-lost"), "the loss is told")
    bench.file("gate", "")
    assert run.end().code == 0
    (lost,), (end,) = events(bench.path, "engine-lost"), events(bench.path, "end")
    assert (lost["engine"]["rank"], lost["engine"]["running"]) == (0, 1)
    assert "SIGKILL" in lost["engine"]["why"]
    assert (end["exit_code"], end["done"], end["tasks_left"]) == (0, 1, False)


def test_end_of_an_interrupted_run_is_told(bench: Bench) -> None:
    run = bench.start_here(1, "--on-event", KEEP, tasks="touch running; sleep 60\n")
    run.until_exists("running")
    run.signal(signal.SIGTERM)
    assert run.end().code == 143
    (end,) = events(bench.path)
    assert (end["ending"], end["exit_code"], end["tasks_left"]) == ("SIGTERM", 143, True)


def test_command_that_fails_is_a_warning_with_its_words(bench: Bench) -> None:
    result = bench.here(1, "--on-event", "echo no route >&2; exit 7", tasks="true\n")
    assert result.code == 0
    assert result.err == "disBatch: warning: the command of --on-event failed at end: exit code 7: no route\n"


def test_command_gets_no_secret_and_no_terminal_of_ours(bench: Bench) -> None:
    env = {"DISBATCH_SMTP_PASSWORD": "pass word"}
    command = "env > env.txt; ls -l /proc/self/fd > fds.txt; echo noise"
    result = bench.here(1, "--on-event", command, tasks="true\n", env=env)
    assert (result.code, result.err) == (0, "")
    assert "noise" not in result.out
    text = bench.read("env.txt")
    assert "DISBATCH_EVENT=end" in text and "pass word" not in text
    assert "kvsinfo" not in text
    assert len(bench.read("fds.txt").splitlines()) == 5  # a heading, 0, 1, 2, and that of ls itself


def test_user_who_does_not_wait_ends_the_command(bench: Bench) -> None:
    run = bench.start_here(1, "--on-event", "touch hooked; sleep 60", tasks="true\n")
    run.until_exists("hooked")
    run.until(lambda: "waiting for the command of --on-event" in run.err(), "the wait is explained")
    began = time.monotonic()
    run.signal(signal.SIGINT)
    assert run.end().code == 0
    assert time.monotonic() - began < 2.0


# the observer alone, with limits that fit a test


class Listener:
    """A run that is watched, and what was said of it."""

    def __init__(self, path: Path) -> None:
        self.said: list[str] = []
        files = RunFiles(str(path / "run"), "", "job", "log")
        say = self.said.append
        log, steering = (
            logging.getLogger("test"),
            Steering(lambda event: None, lambda kind, name: Answer(True, "")),
        )
        self.watched = Watched(files, lambda: SNAPSHOT, lambda: SNAPSHOT, lambda: [], say, say, log, steering)


def drive(path: Path, command: str, limits: HookLimits, count: int = 1) -> list[str]:
    """So many lost engines, then the end; returns what was said."""

    async def run() -> None:
        hooks.begin(listener.watched)
        for _ in range(count):
            hooks.happened(LOST)
        await hooks.finish(END)

    listener, hooks = Listener(path), Hooks(command, "Tasks", limits)
    asyncio.run(asyncio.wait_for(run(), 20))
    return listener.said


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TEST_MARK", str(tmp_path))
    return tmp_path


def test_command_that_hangs_is_killed_with_all_that_it_started(folder: Path) -> None:
    began = time.monotonic()
    said = drive(folder, "sleep 600 & trap '' TERM; sleep 600", HookLimits(seconds=0.3))
    assert time.monotonic() - began < 5
    assert any("it was killed after 0.3 s" in text or "not all commands" in text for text in said), said
    wait_until(lambda: processes_of(str(folder)) == [], "nothing is left of it", seconds=2)


def test_only_a_few_run_at_a_time_and_only_so_many_wait(folder: Path) -> None:
    command = "echo . >> begun; ls run.* 2>/dev/null | wc -l >> seen; touch run.$$; sleep 0.1; rm run.$$"
    said = drive(folder, command, HookLimits(seconds=10, at_once=2, waiting=5), count=50)
    begun = (folder / "begun").read_text().count(".")
    assert begun == 2 + 5 + 1  # running, waiting, and the end, which always comes in
    assert max(int(n) for n in (folder / "seen").read_text().split()) <= 2
    assert said == ["more events than --on-event can keep up with: some are left out"]


def test_command_that_floods_is_drained_and_its_last_words_are_kept(folder: Path) -> None:
    said = drive(folder, "yes no | head -c 3000000; echo the end; exit 3", HookLimits(seconds=10), 0)
    assert said == ["the command of --on-event failed at end: exit code 3: the end"]


def test_command_that_leaves_something_running_is_not_waited_for(folder: Path) -> None:
    began = time.monotonic()
    assert drive(folder, "sleep 5 & echo $! > left", HookLimits(seconds=10), 0) == []
    assert time.monotonic() - began < 3
    os.kill(int((folder / "left").read_text()), signal.SIGKILL)


def test_many_failures_are_few_warnings(folder: Path) -> None:
    said = drive(folder, "exit 3", HookLimits(seconds=10, waiting=30, warnings=2), 12)
    assert len(said) == 2


def test_the_end_of_a_run_with_failures_is_no_mere_all_done(bench: Bench) -> None:
    hook = f"cat > {bench.path}/$$.event"
    assert bench.here(2, "--on-event", hook, tasks="true\nfalse\nfalse\n").code == 0
    found = [json.loads(path.read_text()) for path in bench.path.glob("*.event")]
    (end,) = [each for each in found if each.get("ending")]
    assert end["text"] == "3 tasks: 1 ok, 2 failed"
