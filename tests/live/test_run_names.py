"""A run whose files, nodes and tasks have control characters in their names: nothing that it prints does what they say."""

import os
import re
import sys

from disbatch_runs import Bench, Result

from disbatch.core.printable import is_plain

NAME = "w\nforged\r\x1b[2J\u202eé \udcff!"
SHOWN = "w\\nforged\\r\\x1b[2J\\u202eé \\xff!"
REPORT = [sys.executable, "-m", "disbatch.report"]
CTL = [sys.executable, "-m", "disbatch.ctl"]
FORGED = re.compile("^ ?forged", re.MULTILINE)


def checked(result: Result) -> Result:
    """What was said has line feeds of our own only, and nothing else that is no text."""
    for text in (result.out, result.err):
        assert not FORGED.search(text), text
        assert [line for line in text.split("\n") if not is_plain(line)] == [], text
    return result


def start(bench: Bench, *arguments: str, tasks: str) -> Result:
    bench.file(NAME, tasks)
    return checked(bench.run("-s", "localhost:1", *arguments, NAME))


def log_lines(bench: Bench) -> list[str]:
    return [line for path in bench.path.glob("*.txt") if path.name.endswith(("driver.txt", "engine.txt"))
            for line in path.read_text(errors="surrogateescape").split("\n")]  # fmt: skip


def test_names_are_shown_escaped_and_the_resume_command_runs(bench: Bench) -> None:
    task = "test -e go || { printf 'no\\033[2J\\a' >&2; exit 3; }\n"
    done = start(bench, "--dry-run", tasks=task + "true \x1b[2J\n")
    assert done.code == 0 and f"\n{SHOWN}: 2 tasks\n" in done.out and "true \\x1b[2J\n" in done.out
    done = start(bench, "-p", f"{NAME}/none", tasks=task)
    assert done.code == 2 and SHOWN in done.err
    done = start(bench, "-p", f"./{NAME}.p", "-e", tasks=task + "true\n")
    assert done.code == 1 and f"Status file: ./{SHOWN}.p_status.txt" in done.out
    assert "no\\x1b[2J\\x07" in done.out and "$'./w\\nforged\\r\\x1b[2J" in done.resume
    for line in log_lines(bench):
        assert is_plain(line) and not FORGED.search(line)
    bench.file("go", "")
    again = checked(bench.shell(done.resume))
    assert again.code == 0, again.err
    newest = max(bench.path.glob("*_status.txt"), key=lambda path: path.stat().st_mtime_ns)
    assert sorted((row.task_id, row.returncode) for row in bench.rows(newest.name)) == [(0, 0), (1, 0)]


def test_what_looks_at_a_run_shows_them_escaped(bench: Bench) -> None:
    wait = f"until [ -e go ]; do sleep 0.02; done; : {NAME[-2]}\x1b[2J\u202e\n"
    bench.file(NAME, wait.encode("utf-8", "surrogateescape"))
    run = bench.start("-s", "localhost:1", "-p", NAME, NAME)
    run.until(lambda: os.path.exists(os.fsencode(bench.path / f"{NAME}_kvsinfo.txt")), "the run is there")
    seen = checked(bench.run(NAME, "--status", program=CTL))
    assert seen.code == 0 and seen.out.startswith(f"{SHOWN}: ")
    refused = checked(bench.run(NAME, "--stop-context", NAME, program=CTL))
    assert refused.code == 2 and "no context" in refused.err
    bench.file("go", "")
    assert checked(run.end()).code == 0
    over = checked(bench.run(NAME, "--status", program=CTL))
    assert SHOWN in over.out + over.err
    report = checked(bench.run(f"{NAME}_status.txt", program=REPORT))
    assert report.code == 0 and f"{SHOWN}_status.txt" in report.out and "\\x1b[2J\\u202e" in report.out
    missing = checked(bench.run(f"{NAME}.none", program=REPORT))
    assert missing.code == 2 and SHOWN in missing.err


def test_errors_about_a_task_file(bench: Bench) -> None:
    done = start(bench, tasks="#DISBATCH NONE\x1b[2J\r\n")
    assert done.code == 2 and f"{SHOWN}, line 1" in done.err and "NONE\\x1b[2J" in done.err
    none = checked(bench.run("-s", "localhost:1", f"{NAME}.none"))
    assert none.code == 2 and SHOWN in none.err
    odd = checked(bench.run("--odd\x1b[2J\nforged"))
    assert odd.code == 2 and "--odd\\x1b[2J\\nforged" in odd.err


def test_a_label_with_control_characters_is_refused(bench: Bench) -> None:
    run = bench.start("-S", "-p", "run", tasks="true\n")
    run.until_exists("run_kvsinfo.txt")
    refused = checked(bench.run("-s", "localhost:1", "-l", NAME, program=["./run_dbUtil.sh"]))
    assert (
        refused.code == 2
        and f"the label {SHOWN} has control characters" in refused.err
        and "-l" in refused.err
    )
    assert checked(bench.run("-s", "localhost:1", program=["./run_dbUtil.sh"])).code == 0
    assert checked(run.end()).code == 0
