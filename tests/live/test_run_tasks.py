"""Tasks as they run: their rows, environment, output, order, and what they leave behind."""

import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest
from disbatch_runs import Bench, processes_of, wait_until

HOST = socket.gethostname()


@pytest.mark.parametrize("code", [0, 3])
@pytest.mark.parametrize("out", [False, True])
@pytest.mark.parametrize("err", [False, True])
def test_flags(bench: Bench, code: int, out: bool, err: bool) -> None:
    command = "; ".join(["echo hello"] * out + ["echo oops >&2"] * err + [f"exit {code}"])
    result = bench.here(1, tasks=command)
    assert result.code == 0, result.err
    (row,) = bench.rows()
    assert row.flags == ("R" if code else " ") + ("O" if out else " ") + ("E" if err else " ") + " "
    assert (row.out_bytes, row.out) == ((6, r"'hello\n'") if out else (0, "''"))
    assert (row.err_bytes, row.err) == ((5, r"'oops\n'") if err else (0, "''"))
    assert (row.task_id, row.line_no, row.repeat_index, row.returncode, row.command) == (
        0,
        1,
        -1,
        code,
        command,
    )
    assert row.node == HOST and row.pid > 1


def test_bytes_of_a_line(bench: Bench) -> None:
    bench.here(1, "--status-header", tasks="echo a;\ttrue\n")
    header, line, rest = (
        bench.file("run_status.txt", (bench.path / "run_status.txt").read_bytes()).read_bytes().split(b"\n")
    )
    assert header.startswith(b"ROE[ PSZ]\tTaskID\tLineNum\t") and header.endswith(b"\tErrorSnippet\tCommand")
    assert rest == b""
    pattern = rb" O  \t0\t1\t-1\t%s\t\d+\t0\t\d+\.\d{3}\t\d{10}\.\d{3}\t\d{10}\.\d{3}\t2\t'a\\n'\t0\t''\techo a;\ttrue"
    assert re.fullmatch(pattern % HOST.encode(), line)


def test_times(bench: Bench) -> None:
    before = time.time()
    bench.here(1, tasks="sleep 0.3")
    (row,) = bench.rows()
    assert 0.29 <= row.elapsed_s <= 2.0
    assert before - 0.01 <= row.start_s and row.finish_s <= time.time() + 0.01
    assert abs(row.finish_s - row.start_s - row.elapsed_s) < 0.0021


def test_signals_and_exit_codes(bench: Bench) -> None:
    bench.here(1, tasks="kill -9 $$\nkill -TERM $$\nexit 255\n/nowhere/prog\n")
    assert [bench.row(i).returncode for i in range(4)] == [-9, -15, 255, 127]


def test_environment_of_a_task(bench: Bench) -> None:
    tasks = "#DISBATCH PERENGINE START env > pe\n\n# three\nenv > plain\n#DISBATCH REPEAT 1 start -7 env > repeated\n"
    env = {"DISBATCH_SSH_JOBID": "J17", "MINE": "é x"}
    bench.run("-s", "localhost:4", "-c", "2", tasks=tasks, env=env)

    def environment(name: str) -> dict[str, str]:
        return dict(line.split("=", 1) for line in bench.read(name).splitlines() if "=" in line)

    plain = environment("plain")
    expected = {
        "DISBATCH_JOBID": "J17",
        "DISBATCH_NAMETASKS": "Tasks",
        "DISBATCH_TASKID": "0",
        "DISBATCH_TASKID_ZP": "000000",
        "DISBATCH_STREAM_INDEX": "4",
        "DISBATCH_STREAM_INDEX_ZP": "000004",
        "DISBATCH_REPEAT_INDEX": "-1",
        "DISBATCH_REPEAT_INDEX_ZP": "-00001",
        "DISBATCH_ENGINE_RANK": "0",
        "DISBATCH_CORES_PER_TASK": "2",
        "MINE": "é x",
    }
    assert {k: plain.get(k) for k in expected} == expected
    assert plain["DISBATCH_CYLINDER_RANK"] in ("0", "1")
    assert plain["PWD"] == str(bench.path)
    repeated = environment("repeated")
    assert (repeated["DISBATCH_TASKID"], repeated["DISBATCH_REPEAT_INDEX"]) == ("1", "-7")
    assert repeated["DISBATCH_REPEAT_INDEX_ZP"] == "-00007"
    per_engine = environment("pe")
    assert (per_engine["DISBATCH_CYLINDER_RANK"], per_engine["DISBATCH_TASKID"]) == ("-1", "0")
    secret = [
        k
        for k, v in plain.items()
        if re.search(r"(?i)token|secret|kvs", k) or re.fullmatch(r"[0-9a-f]{32,}", v)
    ]
    assert secret == []


def test_the_job_id_gets_the_number_of_a_taken_prefix(bench: Bench) -> None:
    """With -p NAME it is NAME, which each run of that name has in turn."""
    environ = {"DISBATCH_SSH_JOBID": "J"}
    for prefix in ([], ["-p", "here"], ["-p", "sub/"], ["-p", "sub/there"]):
        (bench.path / "sub").mkdir(exist_ok=True)
        for _ in range(2):
            bench.run("-s", "localhost:1", *prefix, tasks="echo $DISBATCH_JOBID >> ids", env=environ)
    assert bench.read("ids").split() == ["J", "J.2", "here", "here", "J", "J.2", "there", "there"]


def test_each_task_is_a_bash_in_its_own_session_with_nothing_to_read(bench: Bench) -> None:
    tasks = "ps -o sid= -p $$ | tr -d ' ' > sid; echo $$ > pid; [[ a == a ]] && readlink /proc/$$/fd/0 > in; pwd > pwd; ls -l /proc/$$/fd > fds; ulimit -a > /dev/null"
    assert bench.here(1, tasks=tasks).code == 0
    (row,) = bench.rows()
    assert row.returncode == 0 and bench.read("pid") == bench.read("sid") == f"{row.pid}\n"
    assert bench.read("in") == "/dev/null\n" and bench.read("pwd") == f"{bench.path}\n"
    numbers = [int(line.split()[-3]) for line in bench.read("fds").splitlines() if "->" in line]
    assert set(numbers) <= {0, 1, 2, 255}


def test_signals_are_as_usual_in_a_task(bench: Bench) -> None:
    bench.here(1, tasks="yes | head -1 > /dev/null; grep -E '^Sig(Blk|Ign)' /proc/self/status > masks")
    masks = dict(line.split(":\t") for line in bench.read("masks").splitlines())
    assert int(masks["SigBlk"], 16) == 0
    assert int(masks["SigIgn"], 16) & 0x5007 == 0  # HUP, INT, QUIT, PIPE, TERM


@pytest.mark.parametrize("size", [131_071, 131_072, 300_000, 3_000_000])
def test_a_long_command(bench: Bench, size: int) -> None:
    head, tail = 'x="', '"; echo ${#x} > size; [[ $0 == /bin/bash || $0 == bash ]]'
    command = head + "y" * (size - len(head) - len(tail)) + tail
    assert bench.here(1, tasks=command).code == 0
    (row,) = bench.rows()
    assert row.returncode == 0 and row.command == command
    assert int(bench.read("size")) == size - len(head) - len(tail)


def test_a_long_command_that_fails_and_reads(bench: Bench) -> None:
    bench.here(1, tasks=": " + "x" * 200_000 + "; cat; ls /proc/self/fd > fds; exit 9")
    (row,) = bench.rows()
    assert (row.flags, row.returncode) == ("R   ", 9)


def test_a_command_that_is_not_utf8(bench: Bench) -> None:
    bench.here(1, tasks=b"printf '%s' '\xff\xfe' > $'f\xe9'; exit 4\nprintf '\xff\xe9'\n")
    assert bench.row(0).command == r"""b"printf '%s' '\xff\xfe' > $'f\xe9'; exit 4" """.rstrip()
    assert bench.row(0).returncode == 4
    assert Path(os.fsdecode(os.fsencode(bench.path) + b"/f\xe9")).read_bytes() == b"\xff\xfe"
    assert (bench.row(1).out_bytes, bench.row(1).out) == (2, "'\ufffd\ufffd'")


def test_a_hundred_megabytes_of_output_in_bounded_memory(bench: Bench) -> None:
    run = bench.start_here(
        1, tasks="head -c 100000000 /dev/zero | tr '\\0' x; printf end; head -c 70000 /dev/zero >&2"
    )
    run.until(lambda: run.engine_pids()[1:], "the engine runs")
    peaks: dict[int, int] = {}

    def look() -> bool:
        for pid in [run.pid, *run.engine_pids()]:
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            found = re.search(r"VmHWM:\s+(\d+)", status)
            peaks[pid] = int(found[1]) if found else peaks.get(pid, 0)
        return run.process.poll() is not None

    wait_until(look, "the run ends", logs=run.logs)
    assert run.end().code == 0
    (row,) = bench.rows()
    assert (row.out_bytes, row.err_bytes) == (100_000_003, 70_000)
    assert row.out == "'" + "x" * 40 + "..." + "x" * 37 + "end'"
    assert max(peaks.values()) < 120_000, peaks  # KiB


@pytest.mark.parametrize("late", [False, True])
def test_a_background_process_that_holds_the_pipe_delays_nothing(bench: Bench, late: bool) -> None:
    """It survives its task, may go on writing, and ends with the run; its task ends at once."""
    settle = "sleep 0.1; " if late else ""
    background = (
        "(trap '' PIPE; while true; do echo noise || touch broken; sleep 0.05; done) & echo $! > bg; "
    )
    run = bench.start_here(1, tasks=f"{background}{settle}echo first\nuntil [ -e go ]; do sleep 0.02; done\n")
    run.until(
        lambda: bench.path.joinpath("run_status.txt").exists() and bench.done() == [0],
        "the first task has ended",
    )
    assert bench.row(0).elapsed_s < 5 and "first" in bench.row(0).out
    pid = int(bench.read("bg"))
    assert os.path.exists(f"/proc/{pid}")
    bench.file("go", "")
    assert run.end().code == 0
    assert not os.path.exists(f"/proc/{pid}")
    assert not bench.path.joinpath("broken").exists()
    assert bench.left_running() == []


def test_background_processes_that_detach_themselves_end_with_the_run(bench: Bench) -> None:
    bench.here(
        2,
        tasks="setsid sleep 1000 > /dev/null 2>&1 < /dev/null &\n(setsid nohup sleep 1001 &> /dev/null &) &\n",
    )
    assert bench.left_running() == []


def test_as_many_at_a_time_as_there_are_slots(bench: Bench) -> None:
    one = "mkdir x$DISBATCH_TASKID; ls -d x* | wc -l >> peak; until [ -e go -o $(ls -d x* | wc -l) -ge 3 ]; do sleep 0.01; done; touch go; sleep 0.1; rmdir x$DISBATCH_TASKID"
    assert bench.here(3, tasks=f"#DISBATCH REPEAT 9 {one}").code == 0
    assert max(int(n) for n in bench.read("peak").split()) == 3
    assert bench.done() == list(range(9))


def test_slots_of_c_and_t(bench: Bench) -> None:
    result = bench.here(4, "-c", "0.5", "-t", "16", "--dry-run", tasks="true")
    assert "8 slots" in result.out and "-t 16" in result.out + result.err
    result = bench.here(4, "-c", "3", "--dry-run", tasks="true")
    assert "1 slot" in result.out


# -- barriers and per-engine commands


def test_barriers_in_real_time(bench: Bench) -> None:
    tasks = "sleep 0.3; echo a >> order\necho a >> order\n#DISBATCH BARRIER\necho b >> order\n#DISBATCH BARRIER\n#DISBATCH REPEAT 2 echo c >> order\n"
    assert bench.here(4, tasks=tasks).code == 0
    assert bench.read("order").split() == ["a", "a", "b", "c", "c"]
    assert [row.task_id for row in bench.rows()] in ([1, 0, 2, 3, 4, 5, 6], [1, 0, 2, 3, 4, 6, 5])
    row = bench.row(2)
    assert (row.flags, row.line_no, row.returncode, row.out, row.command) == (
        "B    ",
        3,
        0,
        "''",
        "#DISBATCH BARRIER",
    )
    assert row.elapsed_s >= 0.25 and row.node == HOST
    assert row.start_s >= bench.row(0).start_s - 0.2
    assert abs(row.finish_s - bench.row(0).finish_s) < 0.3


def test_a_barrier_row_has_the_drivers_pid(bench: Bench) -> None:
    run = bench.start_here(1, tasks="true\n#DISBATCH BARRIER\n")
    assert run.end().code == 0 and bench.row(1).pid == run.pid


def test_check_ends_the_run_with_exit_code_1(bench: Bench) -> None:
    result = bench.here(2, tasks="true\nfalse\n#DISBATCH barrier check\ntouch never\n")
    assert result.code == 1
    assert [(r.task_id, r.flags, r.returncode) for r in bench.rows() if r.task_id == 2] == [(2, "C    ", 0)]
    assert not bench.path.joinpath("never").exists()
    assert "line 3" in result.err
    assert result.resume.endswith("Tasks")
    assert bench.shell(result.resume).code == 1  # the failed task is tried again, and fails again


def test_check_lets_a_clean_list_pass(bench: Bench) -> None:
    assert bench.here(2, tasks="false\n#DISBATCH BARRIER\ntrue\n#DISBATCH BARRIER CHECK\ntrue\n").code == 0
    assert len(bench.rows()) == 5


def test_per_engine_commands_run_first_and_last(bench: Bench) -> None:
    tasks = """#DISBATCH PERENGINE START sleep 0.2; echo s0 >> order
#DISBATCH PERENGINE STOP echo z0 >> order; echo leaked
#DISBATCH PERENGINE START echo s1 >> order
#DISBATCH PERENGINE STOP echo z1 >> order; exit 3
#DISBATCH REPEAT 4 echo t >> order; sleep 0.1
"""
    result = bench.here(2, "-e", tasks=tasks)
    assert result.code == 0
    assert bench.read("order").split() == ["s0", "s1", "t", "t", "t", "t", "z0", "z1"]
    rows = [
        (r.flags, r.task_id, r.line_no, r.repeat_index, r.returncode)
        for r in bench.rows()
        if r.flags[3] == "P"
    ]
    assert rows == [
        ("   P", 0, 1, -1, 0),
        ("   P", 1, 3, -1, 0),
        (" O P", 0, 2, -1, 0),
        ("R  P", 1, 4, -1, 3),
    ]


def test_a_failing_start_ends_the_run_with_exit_code_3(bench: Bench) -> None:
    tasks = "#DISBATCH PERENGINE START echo no disk >&2; exit 32\n#DISBATCH PERENGINE STOP touch stopped\ntouch never\n"
    result = bench.here(1, tasks=tasks)
    assert result.code == 3
    assert all(part in result.err for part in ("PERENGINE START", "line 1", "32", "no disk", HOST))
    assert not bench.path.joinpath("never").exists()
    assert bench.path.joinpath("stopped").exists()
    assert [r.flags for r in bench.rows()] == ["R EP", "   P"]
    bench.file("Tasks", tasks.replace("exit 32", "exit 0"))
    assert bench.shell(result.resume).code == 0
    assert bench.path.joinpath("never").exists()


def test_stop_commands_run_after_a_failed_check_and_after_a_signal(bench: Bench) -> None:
    bench.here(1, tasks="#DISBATCH PERENGINE STOP touch stopped\nfalse\n#DISBATCH BARRIER CHECK\n")
    assert bench.path.joinpath("stopped").exists()


# -- how soon


def test_a_line_appears_in_the_status_file_soon_after_its_task_ended(bench: Bench) -> None:
    tasks = "true\nuntil [ -e go ]; do sleep 0.02; done\ndate +%s.%N > ended\nuntil [ -e go2 ]; do sleep 0.02; done\n"
    run = bench.start_here(1, tasks=tasks)
    run.until(
        lambda: bench.path.joinpath("run_status.txt").exists() and bench.done() == [0], "the first line"
    )
    bench.file("go", "")
    run.until(lambda: 2 in bench.done(), "the third line")
    seen = time.time()
    bench.file("go2", "")
    assert seen - bench.row(2).finish_s < 0.1 + 0.4  # slack for a busy machine
    assert run.end().code == 0


def test_many_short_tasks_all_have_their_line(bench: Bench) -> None:
    assert bench.here(2, tasks="#DISBATCH REPEAT 1000 :").code == 0
    assert bench.done() == list(range(1000))


def test_a_run_leaves_its_files_and_no_process(bench: Bench) -> None:
    bench.here(1, tasks="true")
    files = ("run_driver.txt", f"run_{HOST}_engine.txt", "run_status.txt", "run_usage.txt", "run_dbUtil.sh")
    expected = {"Tasks", *files}
    assert {path.name for path in bench.path.iterdir()} == expected
    assert processes_of(str(bench.path.parent)) == []


def test_a_task_without_a_newline_at_the_end_of_stdin(bench: Bench) -> None:
    run = bench.start_here(1, "-", stdin=subprocess.PIPE)
    run.feed("echo a > a\necho b > b")
    assert run.end().code == 0 and bench.read("b") == "b\n"
