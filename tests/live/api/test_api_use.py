"""What a program sees of its run, and what it may hand to an executor."""

import logging
import os
import signal
import time
from pathlib import Path

import pytest
from disbatch_runs import wait_until
from smalldisk import small_disk

from disbatch import AsyncExecutor, DisBatcher, Executor, RunFailed
from disbatch.core.errors import UsageError

LIMIT_S = 30


def gate(name: str = "gate") -> str:
    os.mkfifo(name)
    return f"read < {name}"


def open_gate(name: str = "gate") -> None:
    Path(name).write_text("\n")


def messages(caplog: pytest.LogCaptureFixture, level: int) -> str:
    found = [r.getMessage() for r in caplog.records if r.name == "disbatch" and r.levelno == level]
    return "\n".join(found)


def test_what_happens_to_the_run_is_logged(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "disbatch")
    with Executor("localhost:1,nowhere.invalid:1") as executor:
        assert executor.submit("true").result(LIMIT_S).returncode == 0
        wait_until(
            lambda: "no engine could be started on nowhere.invalid" in messages(caplog, logging.ERROR),
            "the lost host is logged",
        )
        executor.submit("kill -9 $PPID")
        wait_until(lambda: "was lost" in messages(caplog, logging.ERROR), "the lost engine is logged")
        executor.terminate()


def test_a_full_disk_is_logged(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The futures wait for room, and the program hears why."""
    with small_disk(here / "disk") as disk:
        with Executor("localhost:4", "disk/run", ["--no-usage"]) as executor:
            futures = [executor.submit(gate(f"gate{i}") + " # " + 1500 * "x") for i in range(4)]
            wait_until(lambda: executor.snapshot().running == 4, "four run")
            disk.fill()
            for i in range(4):
                open_gate(f"gate{i}")
            wait_until(lambda: "cannot write" in messages(caplog, logging.ERROR), "it is logged")
            disk.make_room()
            assert [future.result(LIMIT_S).returncode for future in futures] == [0] * 4


def test_an_error_of_disbatch_itself_is_logged(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Executor("localhost:1", args=["--no-such-option"]) as executor:
        with pytest.raises(RunFailed, match="--no-such-option"):
            executor.submit("true").result(LIMIT_S)
    assert "--no-such-option" in messages(caplog, logging.ERROR)


def test_disbatchers_of_old_are_heard_as_well(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    with DisBatcher("mine", ["-s", "localhost:1,nowhere.invalid:1", "-p", "run"]) as db:
        db.submit("true")
        wait_until(
            lambda: "no engine could be started on nowhere.invalid" in messages(caplog, logging.ERROR),
            "the lost host is logged",
        )


def test_a_snapshot_counts(here: Path) -> None:
    with Executor("localhost:2") as executor:
        first = executor.snapshot()
        assert (first.submitted, first.waiting, first.state) == (0, 0, "starting")
        futures = [executor.submit(command) for command in (gate("a"), gate("b"), "true", "false", "true")]
        wait_until(lambda: executor.snapshot().running == 2, "two run")
        assert futures[4].cancel()
        wait_until(lambda: executor.snapshot().cancelled == 1, "one is cancelled")
        now = executor.snapshot()
        assert (now.submitted, now.slots, now.done, now.failed, now.waiting) == (5, 2, 0, 0, 2)
        assert now.state == "running" and now.elapsed_s > 0
        open_gate("a")
        open_gate("b")
        futures[3].result(LIMIT_S)
    last = executor.snapshot()
    assert (last.done, last.failed, last.cancelled, last.running, last.waiting, last.slots) == (
        3,
        1,
        1,
        0,
        0,
        0,
    )
    assert last.state == "disBatch has ended with exit code 0"


def test_machines_are_added_to_a_running_executor(here: Path) -> None:
    with Executor("localhost:1") as executor:
        executor.add("localhost:2")
        wait_until(lambda: executor.snapshot().slots == 3, "three slots")
        meet = "touch {0}; until [ -e a -a -e b -a -e c ]; do sleep 0.01; done"
        assert len(list(executor.map([meet.format(name) for name in "abc"], timeout=LIMIT_S))) == 3
        with pytest.raises(UsageError, match="hosts"):
            executor.add("localhost")
        with pytest.raises(TypeError, match="hosts is a string"):
            executor.add(2)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.add("localhost:1")


def test_a_call_that_times_out_is_cancelled(here: Path) -> None:
    with Executor("localhost:1") as executor:
        blocking = executor.submit(gate())
        wait_until(blocking.running, "it runs")
        with pytest.raises(TimeoutError):
            list(executor.map(["touch ran1", "touch ran2"], timeout=0.05))
        open_gate()
    assert not Path("ran1").exists() and not Path("ran2").exists()


def test_variables_folder_and_input_of_one_task(here: Path) -> None:
    Path("folder $x").mkdir()
    Path("input 'a'").write_text("from a file\n")
    values = {"WORDS": "a b\n'c' $HOME \\ \t!", "EMPTY": ""}
    with Executor("localhost:1") as executor:
        result = executor.submit("env > here.env; cat", env=values, cwd=Path("folder $x"), stdin="input 'a'")
        assert result.result(LIMIT_S).out_snippet == "from a file\n"
        found = Path("folder $x/here.env").read_text()
        assert "WORDS=a b\n'c' $HOME \\ \t!\n" in found and "EMPTY=\n" in found
        after = executor.submit('test "$PWD${WORDS-none}" =', f"{here}none").result(LIMIT_S)
        assert after.returncode == 0
        missing = executor.submit("touch ran", cwd="no such folder").result(LIMIT_S)
        assert missing.returncode != 0 and " cd: " in missing.err_snippet
        missing = executor.submit("touch ran", stdin="no such file").result(LIMIT_S)
        assert missing.returncode != 0 and not Path("ran").exists()


@pytest.mark.parametrize(
    "word", ["a\nb", "\t\r\x1b", "a'b\"c", "$x `y` !z", "é\u202e", "\udcff", "", "-n", "\\n"]
)
def test_any_word_arrives(here: Path, word: str) -> None:
    with Executor("localhost:1") as executor:
        executor.submit("printf %s > said", word).result(LIMIT_S)
        # the redirection stands before the words, which bash allows
        assert os.fsdecode(Path("said").read_bytes()) == word


def test_wrong_types_say_what_was_expected(here: Path) -> None:
    for arguments, expected in (
        ((2,), "hosts is a string such as"),
        ((["localhost:2"],), "hosts is a string such as .* not list"),
        (("localhost:1", 3), "prefix is a string or a Path, not int"),
        (("localhost:1", None, "-k"), r"args is a list of strings, .* not str: '-k'"),
        (("localhost:1", None, ["-c", 2]), "args is a list of strings, .* one of them is int"),
    ):
        with pytest.raises(TypeError, match=expected):
            Executor(*arguments)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=expected):
            AsyncExecutor(*arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="args is a list of strings"):
        DisBatcher("mine", "-s localhost:1")
    with pytest.raises(TypeError, match="tasksname is a string"):
        DisBatcher(3)  # type: ignore[arg-type]
    with Executor("localhost:1", prefix=Path("kept")) as executor:
        for error, expected, more in (
            (TypeError, "a command line is a str, not int: 3", {}),
            (TypeError, "env is a mapping", {"env": ["A=1"]}),
            (TypeError, "env is a mapping .* 'A': 1", {"env": {"A": 1}}),
            (ValueError, "is no name that bash has", {"env": {"A B": "1"}}),
            (TypeError, "cwd is the path of a folder", {"cwd": 3}),
            (TypeError, "stdin is the path of a file", {"stdin": 3}),
            (ValueError, "NUL", {"cwd": "a\0b"}),
        ):
            with pytest.raises(error, match=expected):
                executor.submit("true" if more else 3, **more)
    assert Path("kept_status.txt").exists()


def test_a_command_is_bounded(here: Path) -> None:
    """300 MB took 2.9 GB in disBatch."""
    with Executor("localhost:1") as executor:
        began = time.monotonic()
        with pytest.raises(ValueError, match="more than 16 MiB: write the data into a file"):
            executor.submit("echo", 17_000_000 * "x")
        assert time.monotonic() - began < 5
        assert executor.submit("true #", 1_000_000 * "x").result(LIMIT_S).returncode == 0


def test_no_hint_names_a_file_that_is_gone(here: Path) -> None:
    with Executor("localhost:1") as executor:
        future = executor.submit("echo > started; exec tail -f /dev/null")
        wait_until(Path("started").exists, "it runs")
        # the status file becomes one that cannot be written to any more, in the words of a program that fails
        os.kill(executor._session.pid, signal.SIGTERM)
        with pytest.raises(RunFailed, match="exit code 143") as caught:
            future.result(LIMIT_S)
        assert executor._session._folder not in str(caught.value)


def test_hints_that_name_private_files_are_put_right(here: Path) -> None:
    from disbatch.api.program import Ended

    executor = Executor("localhost:1")
    folder = executor._session._folder
    said = f"disBatch: error: results cannot be recorded: no space; {folder}/run_driver.txt has the details"
    told = executor._session._in_words(Ended(3, said)).said
    executor.shutdown()
    assert folder not in told and "a temporary file that is removed by now" in told


def test_without_prefetching_all_that_has_no_slot_can_be_cancelled(here: Path) -> None:
    with Executor("localhost:1", prefetch=False) as executor:
        assert len(list(executor.map(["true"] * 20, timeout=LIMIT_S))) == 20  # so that it would prefetch
        first = executor.submit(gate())
        rest = [executor.submit("touch ran") for _ in range(10)]
        wait_until(lambda: executor.snapshot().running == 1, "one runs")
        assert all(future.cancel() for future in rest)
        open_gate()
        assert first.result(LIMIT_S).returncode == 0
    assert not Path("ran").exists()
