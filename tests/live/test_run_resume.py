"""Resuming from status files of our own, whole, torn, several; and what does not match."""

import re

import pytest
from disbatch_runs import Bench

LIST = "echo ran >> 0\nexit 3\n#DISBATCH REPEAT 2 start 5 echo ran >> r$DISBATCH_REPEAT_INDEX\n#DISBATCH BARRIER\nprintf '\\t'\n"


def first(bench: Bench, tasks: str | bytes = LIST) -> None:
    assert bench.here(2, tasks=tasks).code == 0


def again(bench: Bench, *arguments: str, tasks: str | bytes | None = LIST, status: str = "run_status.txt"):
    return bench.run("-s", "localhost:2", "-p", "next", "-r", status, *arguments, tasks=tasks)


def test_finished_tasks_are_copied_with_S_and_everything_else_unchanged(bench: Bench) -> None:
    first(bench)
    assert again(bench).code == 0
    old = {row.task_id: row for row in bench.rows()}
    new = {row.task_id: row for row in bench.rows("next_status.txt")}
    assert set(old) == set(new) == {0, 1, 2, 3, 4, 5}
    for task_id in (0, 1, 2, 3, 5):
        assert new[task_id] == old[task_id]._replace(flags=old[task_id].flags[:3] + "S")
    assert new[4].flags == "B    " and new[4].start_s > old[4].start_s  # barriers are met anew
    assert bench.read("0") == "ran\n"


def test_s_lines_count_when_they_are_read_back(bench: Bench) -> None:
    first(bench)
    again(bench)
    result = bench.run("-s", "localhost:2", "-p", "third", "-r", "next_status.txt", tasks=LIST)
    assert result.code == 0
    strip = [row for row in bench.rows("next_status.txt") if row.flags[0] not in "B"]
    assert [row for row in bench.rows("third_status.txt") if row.flags[0] not in "B"] == strip
    assert bench.read("0") == "ran\n"


def test_retry_runs_what_failed_and_only_that(bench: Bench) -> None:
    first(bench)
    assert again(bench, "-R").code == 0
    new = {row.task_id: row for row in bench.rows("next_status.txt")}
    assert (new[1].flags, new[1].returncode) == ("R   ", 3) and new[0].flags == "   S"
    assert again(bench, "-R", "-e").code == 1
    assert again(bench, "-e").code == 1  # a failure that is skipped counts


def test_skipped_failures_count_for_check(bench: Bench) -> None:
    tasks = "false\n#DISBATCH BARRIER CHECK\ntouch never\n"
    assert bench.here(1, tasks=tasks).code == 1
    result = again(bench, tasks=tasks)
    assert result.code == 1 and not (bench.path / "never").exists()
    assert [row.flags for row in bench.rows("next_status.txt")] == ["R  S", "C    "]


def test_several_files_and_a_success_wins(bench: Bench) -> None:
    tasks = "[ -e ok ]\n[ -e ok ]\n"
    first(bench, tasks)
    bench.file("ok", "")
    bench.run("-s", "localhost:1", "-p", "good", tasks=tasks)
    for order in (["run", "good"], ["good", "run"]):
        result = bench.run(
            *(
                "-s",
                "localhost:1",
                "-p",
                "both",
                "-R",
                "-r",
                f"{order[0]}_status.txt",
                "-r",
                f"{order[1]}_status.txt",
            ),
            tasks=tasks,
        )
        assert result.code == 0
    for name in ("both.1", "both"):
        assert [(row.flags, row.returncode) for row in bench.rows(f"{name}_status.txt")] == [("   S", 0)] * 2


def test_a_list_that_has_grown(bench: Bench) -> None:
    first(bench, "true\n")
    assert again(bench, tasks="true\ntouch new\n").code == 0
    assert [row.flags for row in bench.rows("next_status.txt")] == ["   S", "    "]


def test_a_line_that_moved_is_a_note(bench: Bench) -> None:
    first(bench, "true\n")
    result = again(bench, tasks="# comment\n\ntrue\n")
    assert result.code == 0 and "line" in result.err
    assert bench.row(0, "next_status.txt").line_no == 1  # the copied line is unchanged


@pytest.mark.parametrize("stdin", [False, True])
def test_a_mismatch_is_an_error_that_says_all_and_nothing_runs(bench: Bench, stdin: bool) -> None:
    first(bench, "echo a\ntrue\n")
    other = "# moved\necho b\ntouch never\n"
    if stdin:
        bench.file("Other", other)
        with open(bench.path / "Other", "rb") as file:
            result = bench.run("-s", "localhost:1", "-p", "next", "-r", "run_status.txt", "-", stdin=file)
    else:
        result = again(bench, tasks=other)
    assert result.code == 2
    assert all(part in result.err for part in ("task 0", "line 2", "echo a", "echo b", "--force-resume"))
    assert not (bench.path / "never").exists()
    assert not list(bench.path.glob("next*"))


def test_a_mismatch_anywhere_in_the_file_comes_before_anything_runs(bench: Bench) -> None:
    first(bench, "true\n" * 50)
    changed = "touch never\n" + "true\n" * 49
    rows = bench.rows()
    # forget task 0, so that it would be run
    lines = (bench.path / "run_status.txt").read_bytes().splitlines(keepends=True)
    bench.file("part", b"".join(line for line, row in zip(lines, rows, strict=True) if row.task_id != 0))
    result = again(bench, tasks=changed.removesuffix("true\n") + "false\n", status="part")
    assert result.code == 2 and "task 49" in result.err
    assert not (bench.path / "never").exists()


def test_force_resume_goes_by_ids(bench: Bench) -> None:
    first(bench, "echo a\n")
    result = again(bench, "--force-resume", tasks="echo b\n")
    assert result.code == 0
    assert bench.row(0, "next_status.txt").command == "echo a"


def test_the_resume_command_of_a_forced_resume_works_too(bench: Bench) -> None:
    """The copied lines still hold the old commands, so it has to be forced again."""
    first(bench, "echo a\n[ -e ok ]\n")
    result = again(bench, "--force-resume", "-R", tasks="echo b\n[ -e ok ]\n")
    bench.file("ok", "")
    done = bench.shell(result.resume)
    assert done.code == 0, done.err
    assert [row.returncode for row in bench.rows("next_status.txt")] == [0, 0]


def test_a_torn_line_is_ignored_with_a_note(bench: Bench) -> None:
    first(bench, "touch a\ntouch b\n")
    content = (bench.path / "run_status.txt").read_bytes()
    bench.file("torn", content[:-10])
    result = again(bench, tasks="touch a\ntouch b\n", status="torn")
    assert result.code == 0 and "torn" in result.err
    assert sorted(row.flags for row in bench.rows("next_status.txt")) == ["    ", "   S"]


def test_header_crlf_and_the_form_of_the_manual(bench: Bench) -> None:
    lines = [
        "ROE[ PSZ]\tTaskID\tLineNum\tRepeatIndex\tNode\tPID\tReturnCode\tElapsed\tStart\tFinish\t"
        "BytesOfLeakedOutput\tOutputSnippet\tBytesOfLeakedError\tErrorSnippet\tCommand",
        '\t0\t1\t-1\tworker032\t8016\t0\t10.0486528873\t1458660919.78\t1458660929.83\t0\t""\t0\t""\t\'echo "a"\'',
        "    \t1\t2\t-1\tvm\t5\t0\t1.000\t1458660919.780\t1458660929.830\t0\t''\t0\t''\techo b",
    ]
    bench.file("old", "\r\n".join(lines) + "\r\n")
    result = again(bench, tasks='echo "a"\necho b\necho c\n', status="old")
    assert result.code == 0, result.err
    flags = {row.task_id: row.flags for row in bench.rows("next_status.txt")}
    assert flags == {0: "   S", 1: "   S", 2: " O  "}


def test_a_lost_task_is_run_again(bench: Bench) -> None:
    bench.file("old", "R   \t0\t1\t-1\tvm\t-1\t-100\t0.000\t1.000\t1.000\t0\t''\t0\t''\ttouch a\n")
    assert again(bench, tasks="touch a\n", status="old").code == 0
    assert (bench.path / "a").exists() and bench.row(0, "next_status.txt").flags == "    "


def test_commands_that_are_not_utf8(bench: Bench) -> None:
    tasks = b"printf '\xff' > $'\\377'\n#DISBATCH PREFIX \xe9=1 \ntrue\n"
    first(bench, tasks)
    assert again(bench, tasks=tasks).code == 0
    assert [row.flags[3] for row in bench.rows("next_status.txt")] == ["S", "S"]


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"\n",
        b"true\nfalse\n",
        b"\x00" * 100 + b"\n",
        b"a\tb\tc\td\te\tf\tg\th\ti\tj\tk\tl\tm\tn\to\n",
    ],
)
def test_a_file_that_is_no_status_file_is_an_error_that_names_the_line(bench: Bench, content: bytes) -> None:
    bench.file("bad", content)
    result = again(bench, tasks="touch never\n", status="bad")
    assert result.code == 2 and re.search(r"bad, line 1\b", result.err)
    assert "Traceback" not in result.err and not (bench.path / "never").exists()


def test_a_status_file_that_is_missing(bench: Bench) -> None:
    result = again(bench, tasks="touch never\n", status="nowhere")
    assert result.code == 2 and "nowhere" in result.err and not (bench.path / "never").exists()


def test_resuming_from_the_prefix_itself_touches_nothing(bench: Bench) -> None:
    first(bench, "true\nfalse\n")
    before = (bench.path / "run_status.txt").read_bytes()
    result = bench.here(1, "-r", "run_status.txt", tasks="true\nfalse\n")
    assert result.code == 0 and "run.1" in result.err
    assert (bench.path / "run.1_status.txt").read_bytes() == before
    assert sorted(row.flags for row in bench.rows()) == ["   S", "R  S"]


def test_the_resume_command_of_a_run_with_failures(bench: Bench) -> None:
    result = bench.here(2, "-c", "0.5", tasks="[ -e ok ]\ntrue\n")
    assert result.code == 0 and "-R" in result.resume
    bench.file("ok", "")
    done = bench.shell(result.resume)
    assert done.code == 0 and " -r " not in done.last
    assert {row.task_id: (row.flags, row.returncode) for row in bench.rows()} == {
        0: ("    ", 0),
        1: ("   S", 0),
    }


def test_the_resume_command_survives_odd_names(bench: Bench) -> None:
    bench.file("it's a list", "[ -e ok ]\n")
    result = bench.run("-s", "localhost:1", "-p", "my run", "it's a list")
    bench.file("ok", "")
    assert bench.shell(result.resume).code == 0
    assert bench.row(0, "my run_status.txt").returncode == 0
