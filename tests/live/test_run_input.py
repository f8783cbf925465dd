"""Task lists from files, pipes and redirections; and each bad input with what it is told."""

import subprocess
import sys
from pathlib import Path

import pytest
from disbatch_runs import Bench, Result

HERE = ["-s", "localhost:1", "-p", "run"]


def refused(bench: Bench, result: Result, *parts: str, lines: int = 1) -> None:
    """Exit code 2, one short message on standard error, no traceback, no file of a run, nothing left running."""
    assert result.code == 2, result
    assert all(part in result.err for part in parts), result.err
    assert len(result.err.splitlines()) <= lines and result.err.startswith("disBatch: error: ")
    assert result.out == ""
    assert [path.name for path in bench.path.iterdir() if path.name.startswith("run")] == []
    assert bench.left_running() == []


# -- standard input


def test_a_line_from_a_pipe_is_dispatched_when_it_arrives(bench: Bench) -> None:
    run = bench.start(*HERE, "-", stdin=subprocess.PIPE)
    for name in ("a", "b", "c"):
        run.feed(f"touch {name}\n")
        run.until_exists(name)
    result = run.end()
    assert result.code == 0 and bench.done() == [0, 1, 2]
    assert [bench.row(i).line_no for i in range(3)] == [1, 2, 3]


def test_half_a_line_waits_for_its_other_half(bench: Bench) -> None:
    run = bench.start(*HERE, "-", stdin=subprocess.PIPE)
    run.feed("touch a\ntouch b")
    run.until_exists("a")
    assert not (bench.path / "b").exists()
    run.feed("b\n#DISBATCH REPEAT 2 touch r$DISBATCH_REPEAT_INDEX\n")
    run.until_exists("bb", "r0", "r1")
    assert run.end().code == 0


def test_barriers_in_a_pipe(bench: Bench) -> None:
    run = bench.start("-s", "localhost:4", "-p", "run", "-", stdin=subprocess.PIPE)
    run.feed(
        "#DISBATCH PERENGINE START touch up\nsleep 0.3; touch a\n#DISBATCH BARRIER\n[ -e a ] && touch b\n"
    )
    run.until_exists("up", "b")
    run.feed("#DISBATCH BARRIER CHECK\ntouch c\n")
    run.until_exists("c")
    assert run.end().code == 0


def test_standard_input_redirected_from_a_file(bench: Bench) -> None:
    bench.file("List", "touch a\n#DISBATCH REPEAT 3\ntouch b")
    with open(bench.path / "List", "rb") as file:
        result = bench.run(*HERE, "-", stdin=file)
    assert result.code == 0 and bench.done() == [0, 1, 2, 3, 4]


def test_a_bad_line_in_a_redirected_file_comes_before_anything_runs(bench: Bench) -> None:
    bench.file("List", "touch never\n#DISBATCH NOPE\n")
    with open(bench.path / "List", "rb") as file:
        result = bench.run(*HERE, "-", stdin=file)
    refused(bench, result, "line 2", "NOPE", lines=2)
    assert not (bench.path / "never").exists()


@pytest.mark.parametrize("how", ["null", "empty pipe", "empty file", "comments"])
def test_an_empty_list_is_fine(bench: Bench, how: str) -> None:
    if how == "null":
        result = bench.run(*HERE, "-")
    elif how == "empty pipe":
        result = bench.start(*HERE, "-", stdin=subprocess.PIPE).end()
    else:
        result = bench.run(*HERE, tasks="" if how == "empty file" else "# nothing\n\n")
    assert result.code == 0 and bench.rows() == []
    assert "no task" in result.out + result.err
    assert " -r " not in result.out


def test_the_default_names(bench: Bench) -> None:
    bench.run("-s", "localhost:1", "-", env={"DISBATCH_SSH_JOBID": "J5"})
    assert (bench.path / "STDIN_J5_status.txt").exists()
    bench.run("-s", "localhost:1", tasks="true", env={"SLURM_JOB_ID": "77", "DISBATCH_SSH_JOBID": "J5"})
    assert (bench.path / "Tasks_77_status.txt").exists()
    bench.run("-s", "localhost:1", tasks="true")
    assert len(list(bench.path.glob("Tasks_*_status.txt"))) == 2


def test_a_bad_directive_in_a_stream_lets_what_runs_finish(bench: Bench) -> None:
    run = bench.start("-s", "localhost:2", "-p", "run", "-", stdin=subprocess.PIPE)
    run.feed("touch a; until [ -e go ]; do sleep 0.02; done\ntouch b\n")
    run.until_exists("a", "b")
    run.feed("#DISBATCH NOPE\ntouch never\n")
    run.until(lambda: "line 3" in run.err(), "the bad line is named")
    assert run.process.poll() is None
    bench.file("go", "")
    result = run.end()
    assert result.code == 2 and bench.done() == [0, 1]
    assert "NOPE" in result.err and not (bench.path / "never").exists()
    assert bench.row(0).returncode == 0 and " -r " in result.resume


def test_what_feeds_a_pipe_may_go_on_after_a_bad_line(bench: Bench) -> None:
    """The feeder gets a broken pipe at worst; disBatch does not hang."""
    feeder = subprocess.Popen(
        ["/bin/bash", "-c", "echo '#DISBATCH NOPE'; yes true"],
        stdout=subprocess.PIPE,
        cwd=bench.path,
        env=bench.env,
    )
    assert feeder.stdout is not None
    result = bench.run(*HERE, "-", stdin=feeder.stdout)
    feeder.stdout.close()
    feeder.wait(10)
    assert result.code == 2 and bench.rows() == []


def test_a_fast_feeder_is_held_back_and_memory_stays_small(bench: Bench) -> None:
    feeder = subprocess.Popen(
        ["/bin/bash", "-c", "yes 'sleep 0.2'"], stdout=subprocess.PIPE, cwd=bench.path, env=bench.env
    )
    assert feeder.stdout is not None
    run = bench.start(*HERE, "-", stdin=feeder.stdout)
    feeder.stdout.close()
    run.until(lambda: (bench.path / "run_status.txt").exists() and len(bench.rows()) >= 5, "tasks run")
    peak = next(
        line for line in Path(f"/proc/{run.pid}/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    assert int(peak.split()[1]) < 120_000
    feeder.kill()
    feeder.wait()
    run.signal(2)
    run.until(lambda: "interrupted" in run.err(), "it hears the signal")
    assert run.end().code == 130


# -- files


def test_a_directive_in_small_letters_is_a_comment_with_a_note(bench: Bench) -> None:
    result = bench.run(*HERE, tasks="true\n#disbatch barrier\ntrue")
    assert result.code == 0 and "line 2 is taken as a comment" in result.err
    result = bench.run(*HERE, "--dry-run", tasks="#disbatch barrier\ntrue")
    assert "note: line 1 is taken as a comment" in result.out


def test_byte_order_mark_and_crlf_are_taken_off_with_a_note(bench: Bench) -> None:
    result = bench.run(*HERE, tasks=b"\xef\xbb\xbftouch a\r\n#DISBATCH SUFFIX  b\r\ntouch c")
    assert result.code == 0
    assert {"a", "b", "c"} <= {path.name for path in bench.path.iterdir()}
    assert [row.command for row in bench.rows()] == ["touch a", "touch c b"]
    assert "byte-order mark" in result.err and "CRLF" in result.err


def test_affixes_reach_the_status_file_to_the_letter(bench: Bench) -> None:
    tasks = "#DISBATCH PREFIX  ( cd / ; \n#DISBATCH SUFFIX  ) &> log$DISBATCH_TASKID \n  echo  x \n#DISBATCH PREFIX\n#DISBATCH SUFFIX\n echo y > y\n"
    assert bench.run(*HERE, tasks=tasks).code == 0
    assert [row.command for row in bench.rows()] == [
        " ( cd / ;   echo  x  ) &> log$DISBATCH_TASKID ",
        " echo y > y",
    ]
    assert bench.read("log0") == "x\n"


BAD_LISTS = {
    "unknown directive": (b"touch never\n#DISBATCH FOO x\n", ["Tasks, line 2", "FOO", "#DISBATCH FOO x"]),
    "repeat without a count": (b"touch never\n\n#DISBATCH REPEAT\n", ["Tasks, line 3", "REPEAT"]),
    "repeat with a bad option": (b"#DISBATCH REPEAT 3 start x\n", ["Tasks, line 1", "start"]),
    "late per-engine": (b"touch never\n#DISBATCH PERENGINE START x\n", ["Tasks, line 2", "PERENGINE"]),
    "nul": (b"touch never\necho \0\n", ["Tasks, line 2", "NUL"]),
    "far down": (b"touch never\n" * 100_000 + b"#DISBATCH\n", ["Tasks, line 100001"]),
}


@pytest.mark.parametrize("name", BAD_LISTS)
def test_a_bad_list_is_refused_before_anything_runs(bench: Bench, name: str) -> None:
    tasks, parts = BAD_LISTS[name]
    refused(bench, bench.run(*HERE, tasks=tasks), *parts, lines=2)
    assert not (bench.path / "never").exists()


def test_a_bad_list_is_refused_by_a_dry_run_too(bench: Bench) -> None:
    refused(bench, bench.run(*HERE, "--dry-run", tasks="true\n#DISBATCH FOO\n"), "line 2", lines=2)


# -- options

BAD_OPTIONS = {
    "-S -s": (["-S", "-s", "localhost:1", "Tasks"], ["-S", "-s"]),
    "-R": (["-s", "localhost:1", "-R", "Tasks"], ["-R", "-r"]),
    "mailFreq": (["-s", "localhost:1", "--mailFreq", "3", "Tasks"], ["--mailFreq", "--mailTo"]),
    "retire-cmd": (["-s", "localhost:1", "--retire-cmd", "x", "Tasks"], ["--retire-cmd", "-s"]),
    "servers": (
        ["-s", "localhost:1", "--kvsserver", "a:1", "--taskserver", "b:1"],
        ["--kvsserver", "--taskserver"],
    ),
    "no count": (["-s", "localhost", "Tasks"], ["'localhost'"]),
    "zero": (["-s", "localhost:0", "Tasks"], ["'localhost:0'"]),
    "not a number": (["-s", "h:abc", "Tasks"], ["'h:abc'"]),
    "negative": (["-s", "h:-1", "Tasks"], ["'h:-1'"]),
    "no task file": (["-s", "localhost:1"], ["task file"]),
    "missing task file": (["-s", "localhost:1", "-p", "run", "Nowhere"], ["Nowhere"]),
    "task file is a folder": (["-s", "localhost:1", "-p", "run", "."], ["folder"]),
    "missing folder": (["-s", "localhost:1", "-p", "nowhere/run", "Tasks"], ["nowhere"]),
    "missing folder /": (["-s", "localhost:1", "-p", "nowhere/", "Tasks"], ["nowhere"]),
    "no slot": (["-s", "localhost:1", "-c", "2", "Tasks"], ["1 core ", "2"]),
    "nothing to run on": (["Tasks"], ["-s localhost:"]),
    "address without a port": (
        ["-s", "localhost:1", "--use-address", "localhost", "Tasks"],
        ["--use-address", "'localhost'"],
    ),
    "address of another machine": (
        ["-s", "localhost:1", "-p", "run", "--use-address", "192.0.2.1:4000", "Tasks"],
        ["192.0.2.1"],
    ),
    "address that is no name": (
        ["-s", "localhost:1", "-p", "run", "--use-address", "no.such.invalid:4000", "Tasks"],
        ["no.such.invalid"],
    ),
    "logfile in no folder": (
        ["-s", "localhost:1", "-p", "run", "--logfile", "nowhere/log", "Tasks"],
        ["nowhere/log"],
    ),
    "logfile is a folder": (["-s", "localhost:1", "-p", "run", "--logfile", ".", "Tasks"], ["."]),
    "unknown option": (["-s", "localhost:1", "--nope", "Tasks"], ["--nope"]),
    "two task files": (["-s", "localhost:1", "Tasks", "More"], ["More"]),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_bad_options_are_one_line_errors_at_once(bench: Bench, name: str) -> None:
    bench.file("Tasks", "touch never\n")
    arguments, parts = BAD_OPTIONS[name]
    refused(bench, bench.run(*arguments), *parts)
    assert not (bench.path / "never").exists()


def test_a_list_from_the_environment(bench: Bench) -> None:
    result = bench.run("-p", "run", tasks="true", env={"DISBATCH_SSH_NODELIST": "localhost:2"})
    assert result.code == 0
    refused_result = bench.run("-p", "other", tasks="true", env={"DISBATCH_SSH_NODELIST": "localhost:x"})
    assert refused_result.code == 2 and "'localhost:x'" in refused_result.err


def test_counts_for_one_host_add_up(bench: Bench) -> None:
    result = bench.run("-s", "localhost:1,localhost:2", "-s", "localhost:3", "--dry-run", tasks="true")
    assert result.code == 0 and "6 slots" in result.out


def test_more_tasks_per_node_than_fit_are_cut_with_a_warning(bench: Bench) -> None:
    result = bench.run("-s", "localhost:2", "-t", "9", "-p", "run", tasks="true")
    assert result.code == 0 and "-t 9" in result.err and "2" in result.err


# -- prefixes


def test_files_of_a_taken_prefix_are_renamed_and_it_is_said(bench: Bench) -> None:
    bench.file("run_driver.txt", "precious")
    result = bench.run(*HERE, tasks="true")
    assert result.code == 0 and "are run.1_… now" in result.err
    assert bench.read("run.1_driver.txt") == "precious"
    assert (bench.path / "run_status.txt").exists() and not (bench.path / "run.1_status.txt").exists()
    assert "run_status.txt" in result.out
    bench.run(*HERE, tasks="true")
    assert (bench.path / "run.2_status.txt").exists()


def test_a_taken_default_name_gives_the_next_number_and_says_so(bench: Bench) -> None:
    for number in (1, 2, 3):
        result = bench.run("-s", "localhost:1", tasks="true", env={"DISBATCH_SSH_JOBID": "J"})
        name = "Tasks_J" if number == 1 else f"Tasks_J.{number}"
        assert result.code == 0 and f"{name}_status.txt" in result.out
        assert ("is taken by an earlier run" in result.err) == (number > 1)


def test_two_runs_at_once_with_one_prefix(bench: Bench) -> None:
    bench.file("Tasks", "true\n")
    runs = [bench.start(*HERE, "Tasks") for _ in range(4)]
    ends = [run.end() for run in runs]
    went = [end for end in ends if end.code == 0]
    refused = [end for end in ends if end.code == 2 and "the run of that name is not over" in end.err]
    assert went and len(went) + len(refused) == 4
    names = sorted(path.name for path in bench.path.glob("*_status.txt"))
    assert names == [*(f"run.{number}_status.txt" for number in range(1, len(went))), "run_status.txt"]
    assert all(len(bench.rows(name)) == 1 for name in names)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [("sub/", "sub/Tasks_J_status.txt"), ("sub", "sub/Tasks_J_status.txt"), ("sub/x", "sub/x_status.txt")],
)
def test_prefixes(bench: Bench, prefix: str, expected: str) -> None:
    (bench.path / "sub").mkdir()
    bench.run("-s", "localhost:1", "-p", prefix, tasks="pwd", env={"DISBATCH_SSH_JOBID": "J"})
    (row,) = bench.rows(expected)
    assert str(bench.path) in row.out.replace("...", "") or row.out_bytes == len(str(bench.path)) + 1


def test_a_logfile(bench: Bench) -> None:
    assert bench.run(*HERE, "--logfile", "my.log", "--loglevel", "DEBUG", tasks="true").code == 0
    assert (bench.path / "my.log").stat().st_size > 0 and not (bench.path / "run_driver.txt").exists()


# -- starting the program


def test_without_its_dependencies_it_prints_one_line_with_the_pip_command(bench: Bench) -> None:
    bare = [sys.executable, "-S", "-E", "-c"]
    root = bench.env["PYTHONPATH"]
    code = f"import sys; sys.path.insert(0, {root!r}); from disbatch.cli import main; sys.exit(main())"
    result = bench.run(code, *HERE, "Tasks", program=bare)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1 and "pip install" in result.err and "rich" in result.err
    assert "Traceback" not in result.err


def test_python_m_disbatch_version_and_help(bench: Bench) -> None:
    result = bench.run("--version")
    assert result.code == 0 and result.out.startswith("disBatch ")
    result = bench.run("--help")
    assert result.code == 0 and "--retire-cmd" in result.out and "context specific arguments" in result.out


def test_a_closed_standard_output_does_not_stop_a_run(bench: Bench) -> None:
    bench.file("Tasks", "true\n")
    bench.run(
        f"exec {sys.executable} -m disbatch -s localhost:1 -p run Tasks >&- 2>&-", program=["/bin/bash", "-c"]
    )
    assert bench.done() == [0]


def test_a_folder_that_cannot_be_written(bench: Bench) -> None:
    result = bench.run("-s", "localhost:1", "-p", "/proc/run", tasks="touch never\n")
    assert result.code in (2, 3) and "/proc/run" in result.err and "Traceback" not in result.err
    assert not (bench.path / "never").exists()
