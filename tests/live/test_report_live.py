"""disbatch-report on what disBatch wrote, now or years ago: a run with its usage file, a chain, a run under way, bad input."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from disbatch_runs import ROOT, Bench, Result

REPORT = [sys.executable, "-m", "disbatch.report"]
TASKS = """#DISBATCH PERENGINE START true
echo leaked
[ -e licence ] || { echo 'no licence' >&2; exit 3; }
sleep 0.3 >/dev/null
#DISBATCH REPEAT 4 sleep 0.05
#DISBATCH BARRIER
sleep 0.4
echo '<b>bold</b>'
"""


def report(bench: Bench, *arguments: str, **more: object) -> Result:
    return bench.run(*arguments, program=REPORT, **more)  # type: ignore[arg-type]


def figures(bench: Bench, *arguments: str) -> dict:
    done = report(bench, "--json", *arguments)
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_a_run_with_its_usage_file(bench: Bench) -> None:
    bench.here(2, tasks=TASKS)
    rows = [r for r in bench.rows() if r.flags[0] not in "BC" and r.flags[3] != "P"]
    r = figures(bench, "run_status.txt")
    assert (r["tasks"], r["failed"], r["barriers"], r["setup"]) == (9, 1, 1, 1)
    assert r["durations"]["longest_s"] == max(row.elapsed_s for row in rows)
    assert r["durations"]["total_s"] == pytest.approx(sum(row.elapsed_s for row in rows))
    assert r["longest"][0]["command"] == "sleep 0.4"
    (failure,) = r["failures"]
    assert (failure["count"], failure["returncode"], failure["message"]) == (1, 3, "no licence")
    (node,) = r["nodes"]
    assert (node["slots"], node["tasks"], node["failed"]) == (2, 9, 1)
    assert [tail["line_no"] for tail in r["runs"][0]["tails"]] == [6, 0]
    assert r["leaks"]["tasks"] == 3
    assert r["usage"]["tasks"] == 9
    assert 0 < r["usage"]["cpu_s"] < 5
    assert r["usage"]["peak_largest_kib"] > 500
    assert r["usage"]["nodes"][0]["memory_kib"] > 100_000


def test_the_tables_of_a_run(bench: Bench) -> None:
    bench.here(2, tasks=TASKS)
    done = report(bench, "run_status.txt")
    assert (done.code, done.err) == (0, "")
    assert "9 tasks, 1 failed" in done.out
    assert "besides 1 barrier and 1 per-engine command" in done.out
    for title in (
        "Durations",
        "Core-hours",
        "Tail",
        "Failures",
        "Longest tasks",
        "Nodes",
        "Leaked output",
        "Advice",
    ):
        assert re.search(rf"^{title}", done.out, re.MULTILINE), title
    assert "\x1b" not in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())
    assert "<b>bold</b>" in done.out
    # what the node has is said under a heading of its own, and not below the output that leaks
    assert re.search(r"^(Memory|Largest tasks)\n(.+\n)*.* has \d", done.out, re.MULTILINE)


def test_a_chain_of_runs(bench: Bench) -> None:
    bench.here(2, tasks=TASKS)
    bench.file("licence", "")
    bench.run("-s", "localhost:2", "-p", "again", "-r", "run_status.txt", "-R", "Tasks")
    both = figures(bench, "run_status.txt", "again_status.txt")
    assert (both["tasks"], both["failed"], both["earlier"], both["repaired"]) == (9, 0, 0, 1)
    assert [run["tasks"] for run in both["runs"]] == [9, 1]
    second = figures(bench, "again_status.txt")
    assert (second["tasks"], second["failed"], second["earlier"]) == (9, 0, 8)
    assert second["durations"]["count"] == 1
    assert second["wall_s"] < 5


def test_a_run_under_way(bench: Bench) -> None:
    run = bench.start_here(2, tasks="true\nuntil [ -e go ]; do sleep 0.02; done\ntrue\n")
    status = bench.path / "run_status.txt"
    run.until(lambda: status.exists() and status.read_text().count("\n") == 2, "two tasks have finished")
    assert figures(bench, "run_status.txt")["tasks"] == 2
    assert report(bench, "run_status.txt", "--html", "page.html").code == 0
    bench.file("go", "")
    assert run.end().code == 0
    assert figures(bench, "run_status.txt")["tasks"] == 3


def test_an_empty_and_a_torn_file(bench: Bench) -> None:
    bench.file("empty", "")
    done = report(bench, "empty")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == ["0 tasks, 0 failed", "empty", "No task has finished yet."]
    bench.here(2, tasks="true\nfalse\n")
    whole = (bench.path / "run_status.txt").read_bytes()
    bench.file("torn", whole[:-20])
    done = report(bench, "torn")
    assert done.code == 0
    assert done.out.startswith(
        "Note: torn, line 2: the last line is not complete (yet), it is ignored\n1 task,"
    )


def test_what_is_no_status_file(bench: Bench) -> None:
    bench.file("Tasks", "echo one\n")
    for path, why in [
        ("Tasks", "Tasks, line 1: not a status line: 1 tab-separated fields instead of 15"),
        ("nowhere", "cannot read the status file nowhere: No such file or directory"),
        (".", "cannot read the status file .: Is a directory"),
        ("/bin/sh", "/bin/sh, line 1: not a status line"),
    ]:
        done = report(bench, path)
        assert done.code == 2
        assert done.out == ""
        assert done.err.startswith(f"disbatch-report: error: {why}")
        assert len(done.err.splitlines()) == 1
    assert report(bench).code == 2


def test_a_page_that_cannot_be_written(bench: Bench) -> None:
    bench.here(1, tasks="true\n")
    done = report(bench, "run_status.txt", "--html", "nowhere/page.html")
    assert done.code == 3
    assert (
        done.err
        == "disbatch-report: error: cannot write the page nowhere/page.html: No such file or directory\n"
    )
    assert not [*bench.path.glob("*.part")]


def test_no_plotly_is_said(bench: Bench) -> None:
    bench.here(1, tasks="true\n")
    blocked = bench.path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text("import sys\nsys.modules['plotly'] = None\n")
    bench.env["PYTHONPATH"] = f"{blocked}:{ROOT}"
    done = report(bench, "run_status.txt", "--html", "page.html")
    assert done.code == 2
    assert done.err == (
        f"disbatch-report: error: --html needs the package plotly: {sys.executable} -m pip install plotly\n"
    )
    assert not (bench.path / "page.html").exists()
    assert report(bench, "run_status.txt").code == 0


def test_a_reader_that_has_seen_enough(bench: Bench) -> None:
    bench.here(2, tasks="#DISBATCH REPEAT 40 true\n")
    done = bench.shell(
        f"{sys.executable} -m disbatch.report run_status.txt --json | head -n 1; echo ${{PIPESTATUS[0]}}"
    )
    assert (done.out, done.err) == ("{\n0\n", "")


def test_a_file_through_a_pipe(bench: Bench) -> None:
    bench.here(2, tasks="true\nfalse\n")
    done = bench.shell(f"cat run_status.txt | {sys.executable} -m disbatch.report /dev/stdin")
    assert (done.code, done.err) == (0, "")
    assert "2 tasks, 1 failed" in done.out


@pytest.mark.peer
def test_a_file_of_the_predecessor(bench: Bench) -> None:
    python = os.environ.get("DISBATCH_PEER_PYTHON", "")
    script = Path(python).parent / "disBatch"
    if not python or not script.exists():
        pytest.skip("DISBATCH_PEER_PYTHON names no disBatch 3.0")
    bench.file("Tasks", TASKS)
    done = bench.start(
        "-s", "localhost:2", "-p", "theirs", "Tasks", program=[python, str(script)], env={"PYTHONPATH": ""}
    ).end(60)
    assert done.code == 0, done.err
    r = figures(bench, "theirs_status.txt")
    assert (r["tasks"], r["failed"], r["barriers"], r["setup"]) == (9, 1, 1, 1)
    assert (r["nodes"][0]["slots"], r["nodes"][0]["tasks"]) == (2, 9)
    assert r["failures"][0]["message"] == "no licence"
    assert r["leaks"]["tasks"] == 3
    assert report(bench, "theirs_status.txt", "--html", "page.html").code == 0


def commands(page: Path) -> str:
    """The blocks of a page that are marked to be run."""
    return "\n".join(re.findall(r"^```sh run\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE))


def test_the_commands_of_the_documentation(bench: Bench) -> None:
    script = commands(ROOT / "docs/report.md")
    assert "disbatch-report" in script
    folder = bench.path / "bin"
    folder.mkdir()
    for name, module in (("disBatch", "disbatch"), ("disbatch-report", "disbatch.report")):
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        (folder / name).chmod(0o755)
    done = bench.run("-euc", script, program=["/bin/bash"], env={"PATH": f"{folder}:{os.environ['PATH']}"})
    assert done.code == 0, done.err
    assert "60 tasks, 3 failed" in done.out
    assert "60 tasks, 1 failed, 2 failed at first, then went well" in done.out
    assert (bench.path / "night.html").stat().st_size > 1_000_000
