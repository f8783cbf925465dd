"""How much an executor hands over, which command lines it takes, and the records that it reads."""

import pickle
import subprocess
import sys

import pytest

import disbatch
from disbatch.api.command import command_line
from disbatch.api.errors import RunFailed, TaskFailed
from disbatch.api.handover import PREFETCH_MAX, Handover
from disbatch.api.links import NO_CONNECTION
from disbatch.api.program import Ended
from disbatch.api.result import result_from

RECORD = {
    "Flags": "R   ", "TaskId": 1, "TaskStreamIndex": 2, "TaskRepIndex": -1, "Host": "vm", "PID": 14615, "ReturnCode": 3,
    "Elapsed": 1.015, "Start": 5.0, "End": 6.015, "OutBytes": 3, "OutData": "ab\n", "ErrBytes": 4, "ErrData": "abc\n",
    "TaskCmd": "exit 3",
}  # fmt: skip


def status(slots: int) -> dict[str, object]:
    return {"slots": slots}


def test_nothing_is_handed_over_before_the_slots_are_known() -> None:
    assert Handover().limit == 0


def test_as_many_as_there_are_slots_before_anything_is_known_of_durations() -> None:
    handover = Handover()
    handover.saw_status(status(6))
    assert handover.limit == 6


@pytest.mark.parametrize("elapsed_s", [1.0, 60.0, 86400.0])
def test_long_tasks_are_not_prefetched(elapsed_s: float) -> None:
    handover = Handover()
    handover.saw_status(status(4))
    handover.saw_task(elapsed_s)
    assert handover.limit == 4


def test_short_tasks_are_prefetched_within_bounds() -> None:
    handover = Handover()
    handover.saw_status(status(4))
    handover.saw_task(0.005)
    assert 4 + 50 < handover.limit < 4 + 200
    handover.saw_status(status(100_000))
    handover.saw_task(0.0)
    assert handover.limit == 100_000 + PREFETCH_MAX


def test_the_pace_follows_the_tasks() -> None:
    handover = Handover()
    handover.saw_status(status(4))
    for _ in range(20):
        handover.saw_task(0.002)
    for _ in range(3):
        handover.saw_task(10.0)
    assert handover.limit == 4


@pytest.mark.parametrize(
    "line",
    ["a\nb", "true\n", "a\0b", "", "  \t", "# comment", "  #c", "#DISBATCH BARRIER", " #DISBATCH REPEAT 3 x"],
)
def test_what_is_no_command(line: str) -> None:
    with pytest.raises(ValueError, match=r"command|directive"):
        command_line(line)


@pytest.mark.parametrize("thing", [print, None, 3, b"true", ["true"]])
def test_what_is_no_text(thing: object) -> None:
    with pytest.raises(TypeError, match="command line is a str"):
        command_line(thing)  # type: ignore[arg-type]


def test_words_are_quoted() -> None:
    assert command_line("run", ["a b", "$x", 3, "'"]) == b"""run 'a b' '$x' 3 ''"'"''"""
    assert command_line("run", ["a\nb"]) == rb"run $'a\nb'"
    with pytest.raises(ValueError, match="line break"):
        command_line("run\n")


def test_bytes_in_a_text_survive() -> None:
    assert command_line("cat \udcff é") == b"cat \xff \xc3\xa9"


def test_a_record_becomes_a_result() -> None:
    result = result_from(RECORD)
    assert (result.returncode, result.task_id, result.host, result.pid, result.flags) == (
        3,
        1,
        "vm",
        14615,
        "R   ",
    )
    assert (result.start, result.end, result.elapsed) == (5.0, 6.015, 1.015)
    assert (result.out_bytes, result.out_snippet, result.err_bytes, result.err_snippet) == (
        3,
        "ab\n",
        4,
        "abc\n",
    )
    assert result.command == "exit 3"
    with pytest.raises(AttributeError):
        result.returncode = 0  # type: ignore[misc]


def test_errors_say_what_happened_and_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(TaskFailed(result_from(RECORD))))
    assert error.result == result_from(RECORD)
    assert str(error) == "task 1: exit code 3: exit 3\n    abc"
    assert str(RunFailed("x")) == "x"


def test_how_it_ended_in_words() -> None:
    assert Ended(2, "a\nb").text == "disBatch has ended with exit code 2\n    a\n    b"
    assert Ended(-9, "").text == "disBatch was killed by SIGKILL"
    assert Ended(-200, "").text == "disBatch was killed by signal 200"
    assert Ended(None, "a").text == "disBatch has ended, with an exit code that is not known\n    a"
    assert Ended(None, "closed", NO_CONNECTION).text == "the connection to disBatch is gone\n    closed"


def test_all_names_are_there() -> None:
    for name in disbatch.__all__:
        assert getattr(disbatch, name) is not None
    from disbatch import disBatch

    assert disBatch.DisBatcher is disbatch.DisBatcher
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = disbatch.no_such_name


def test_the_package_itself_imports_nothing() -> None:
    code = "import sys; before = set(sys.modules); import disbatch; print(set(sys.modules) - before - {'disbatch'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not any(word in done.stdout for word in ("asyncio", "subprocess", "disbatch.api", "kvsstcp"))


def test_prefetching_can_be_switched_off() -> None:
    handover = Handover(prefetch=False)
    handover.saw_status({"slots": 4})
    handover.saw_task(0.001)
    assert handover.limit == 4
