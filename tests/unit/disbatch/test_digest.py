"""The words at the end of a run: counts, causes, the status file, and the exact command that resumes."""

import shlex

import pytest

from disbatch.core.driver_events import Ending
from disbatch.core.failures import FailureGroup
from disbatch.core.snapshot import RunSnapshot
from disbatch.monitor.digest import digest, resume_command, resume_line


def snapshot(done: int = 8, failed: int = 2, skipped: int = 0, elapsed_s: float = 5.0) -> RunSnapshot:
    return RunSnapshot(elapsed_s, done, failed, skipped, 0, 0, None, "", "over", ())


def text(ending: Ending = Ending.COMPLETE, failures: tuple[FailureGroup, ...] = (), **counts) -> str:
    return "\n".join(digest(snapshot(**counts), failures, ending, "run_status.txt"))


def test_counts_rate_and_status_file() -> None:
    words = text(skipped=3)
    for part in (
        "13 tasks: 11 ok, 2 failed (3 of them ended in earlier runs); 5.00 s, 2.0 tasks/s",
        "run_status.txt",
    ):
        assert part in words
    assert "early" not in words
    assert text(done=1, failed=0).startswith("1 task: 1 ok, 0 failed")


def test_an_early_end_says_why() -> None:
    assert Ending.CHECK.text in text(Ending.CHECK)


def test_an_empty_list_says_so() -> None:
    assert "no task" in text(done=0, failed=0, elapsed_s=0.0)


def test_failures_by_cause() -> None:
    groups = (
        FailureGroup(1, "no such file", 2000, 17, "no such file"),
        FailureGroup(-9, "", 1, 4, ""),
        FailureGroup(-77, "x", 1, 5, "x"),
    )
    words = text(failures=groups)
    assert "2000 x exit code 1: no such file" in words and "task 17" in words
    assert "1 x killed by SIGKILL" in words and "task 4" in words
    assert "killed by signal 77" in words


def test_many_causes_are_summed_up() -> None:
    words = text(failures=tuple(FailureGroup(1, f"cause {i}", 2, i, "") for i in range(50)))
    assert len(words.splitlines()) < 20
    assert "80 more, for 40 other reasons" in words


def resumed(*arguments: str, retry: bool = False) -> list[str]:
    return shlex.split(resume_command(arguments, "new status.txt", retry=retry))


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        (["-s", "localhost:4", "Tasks"], ["-s", "localhost:4", "Tasks"]),
        (["-r", "old", "-R", "Tasks"], ["Tasks"]),
        (["-rold", "Tasks"], ["Tasks"]),
        (
            ["--resume-from", "old", "--resume-from=older", "--force-resume", "--retry", "Tasks"],
            ["--force-resume", "Tasks"],
        ),
        (["-r", "-R", "Tasks"], ["Tasks"]),
        (["-p", "a b", "it's", "-e"], ["-p", "a b", "it's", "-e"]),
        (["-s", "localhost:2", "--", "-r"], ["-s", "localhost:2", "--", "-r"]),
        (["-eRr", "old", "Tasks"], ["-e", "Tasks"]),
        (["-er", "old", "Tasks"], ["-e", "Tasks"]),
        (["-Re", "-r", "old", "Tasks"], ["-e", "Tasks"]),
        (["-rRold", "Tasks"], ["Tasks"]),
    ],
)
def test_the_command_keeps_all_but_what_said_from_where_to_resume(
    arguments: list[str], kept: list[str]
) -> None:
    words = resumed(*arguments)
    at = words.index("-r")
    assert words[at + 1] == "new status.txt"
    assert words[at + 2 :] == kept


def test_the_command_retries_when_only_failures_are_left() -> None:
    assert "-R" in resumed("Tasks", retry=True)
    assert "-R" not in resumed("Tasks")


@pytest.mark.parametrize(
    ("ending", "left", "failed", "resumes", "retries"),
    [
        (Ending.COMPLETE, False, 0, False, False),
        (Ending.COMPLETE, False, 2, True, True),
        (Ending.SIGINT, True, 0, True, False),
        (Ending.SIGTERM, True, 3, True, False),
        (Ending.CHECK, True, 1, True, True),
        (Ending.FAIL_FAST, True, 1, True, True),
        (Ending.NO_ENGINE, True, 0, True, False),
    ],
)
def test_when_there_is_something_left_the_last_line_resumes(
    ending: Ending, left: bool, failed: int, resumes: bool, retries: bool
) -> None:
    line = resume_line(["Tasks"], "s", ending, left=left, failed=failed, piped=False)
    assert bool(line) is resumes
    assert (" -R" in line) is retries
    assert "\n" not in line


def test_a_piped_list_has_to_be_given_again() -> None:
    assert "standard input" in resume_line(["-"], "s", Ending.SIGINT, left=True, failed=0, piped=True)
