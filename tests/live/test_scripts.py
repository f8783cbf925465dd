"""What users start first works as it is described: the example task files, scripts/, and the commands in README.md."""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from docs_blocks import blocks_of, make_programs, reader_environment, run_block

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "exampleTaskFiles"
README = ROOT / "README.md"
LIMIT_S = 60  # for a program that should take a second or two
OTHER_RUNS = ("DISBATCH_", "SLURM_", "PYTHON")
LEAK, FAILURE = "nobody caught this line\n", "no licence left\n"


def environment(**more: str) -> dict[str, str]:
    """Ours, without what another run, a batch job or a developer may have left in it."""
    return {k: v for k, v in os.environ.items() if not k.startswith(OTHER_RUNS)} | more


def run(argv: list[str | Path], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT_S
    )


def disbatch(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    argv: list[str | Path] = [sys.executable, "-m", "disbatch", *arguments]
    return run(argv, folder, environment(PYTHONPATH=str(ROOT)))


def rows(path: Path) -> list[list[str]]:
    """The fields of each status line, tasks in the order of their numbers."""
    lines = path.read_text().split("\n")
    assert lines.pop() == "", f"{path} ends within a line"
    found = [line.split("\t", 14) for line in lines]
    assert all(len(fields) == 15 for fields in found), found
    return sorted(found, key=lambda fields: int(fields[1]))


def flags_and_codes(path: Path) -> list[tuple[str, str]]:
    return [(fields[0], fields[6]) for fields in rows(path)]


def wrapper(path: Path, command: str) -> None:
    """A small program at `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o755)


def python_on_path(folder: Path) -> dict[str, str]:
    """An environment in which `python3` is the interpreter of the tests, with its packages."""
    wrapper(folder / "python3", f'"{sys.executable}"')
    return environment(PATH=f"{folder}:{os.environ['PATH']}")


# The example task files: for each, what its folder has to show after a run.


def check_first(folder: Path) -> None:
    assert flags_and_codes(folder / "run_status.txt") == [("    ", "0")] * 6
    assert (folder / "who.txt").read_text() == "I am task 0, from line 8\n"
    assert (folder / "count.txt").read_text() == "1000\n"
    assert (folder / "slow.txt").read_text() == "half a second later\n"
    assert (folder / "loop.txt").read_text().split() == ["a", "loop", "fits", "on", "one", "line", "too"]


def check_prefix_and_suffix(folder: Path) -> None:
    assert flags_and_codes(folder / "run_status.txt") == [("    ", "0")] * 4
    assert (folder / "logs/000000.log").read_text() == "one\nwith a word on standard error\n"
    assert len((folder / "logs/000001.log").read_text().splitlines()) == 2
    assert sorted(os.listdir(folder / "logs")) == ["000000.log", "000001.log", "000002.log"]
    assert (folder / "plain.txt").read_text() == "no log for this one\n"


def check_barrier(folder: Path) -> None:
    assert [flags for flags, _ in flags_and_codes(folder / "run_status.txt")] == ["    "] * 3 + [
        "B    ",
        "    ",
    ]
    assert (folder / "total.txt").read_text() == "60\n"


def check_barrier_check(folder: Path) -> None:
    fine, failed, check = ("    ", "0"), ("R   ", "4"), ("C    ", "0")
    assert flags_and_codes(folder / "run_status.txt") == [fine, fine, check, fine, failed, check]
    assert (folder / "first-output.txt").read_text() == "RAW\n"
    assert not (folder / "analysis.txt").exists()


def check_repeat(folder: Path) -> None:
    assert flags_and_codes(folder / "run_status.txt") == [("    ", "0")] * 12
    indices = [int(fields[3]) for fields in rows(folder / "run_status.txt")]
    assert indices == [100, 150, 200, 250, 300, 3, 2, 1, 0, 1, 2, 3]
    assert (folder / "square-150.txt").read_text() == "22500\n"
    assert len(list(folder.glob("countdown-*.txt"))) == 3
    assert (folder / "row-3.txt").read_text() == "3 6 9 12 "


def check_perengine(folder: Path) -> None:
    found = flags_and_codes(folder / "run_status.txt")
    assert sorted(found) == [("    ", "0")] * 2 + [("   P", "0")] * 2
    assert (folder / "engine_0.log").read_text() == "started\nstopped\n"
    assert (folder / "three.txt").read_text() == "3 is in the table\n"
    assert (folder / "seven.txt").read_text() == "7 is in the table\n"
    assert not (folder / "table_0").exists()


def check_fail_leak_resume(folder: Path) -> None:
    found = rows(folder / "run_status.txt")
    assert [(f[0], f[6]) for f in found] == [("    ", "0"), (" O  ", "0"), ("R E ", "3"), ("    ", "0")]
    assert found[1][10:12] == [str(len(LEAK)), repr(LEAK)]
    assert found[2][12:14] == [str(len(FAILURE)), repr(FAILURE)]


EXPECTED: dict[str, tuple[int, Callable[[Path], None]]] = {
    "first": (0, check_first),
    "prefix-and-suffix": (0, check_prefix_and_suffix),
    "barrier": (0, check_barrier),
    "barrier-check": (1, check_barrier_check),
    "repeat": (0, check_repeat),
    "perengine": (0, check_perengine),
    "fail-leak-resume": (0, check_fail_leak_resume),
}


def test_every_example_has_a_check_and_a_line_in_the_table() -> None:
    names = {path.name for path in EXAMPLES.iterdir()} - {"README.md"}
    listed = re.findall(r"^\| `([^`]+)` \|", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert names == set(EXPECTED) == set(listed)


@pytest.mark.parametrize("name", EXPECTED)
def test_example_shows_what_it_promises(name: str, tmp_path: Path) -> None:
    code, check = EXPECTED[name]
    ended = disbatch(tmp_path, "-s", "localhost:4", "-p", "run", EXAMPLES / name)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert all(line.startswith("disBatch: ") for line in ended.stderr.splitlines()), ended.stderr
    check(tmp_path)


def test_failed_example_is_resumed_with_the_command_that_it_names(tmp_path: Path) -> None:
    """The file's own comments hold both commands; here they run as they stand there."""
    shutil.copy(EXAMPLES / "fail-leak-resume", tmp_path)
    text = (EXAMPLES / "fail-leak-resume").read_text()
    commands = re.findall(r"^# +disBatch (.+)$", text, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        ended = disbatch(tmp_path, *command.split())
        assert ended.returncode == 0, ended.stdout + ended.stderr
    found = flags_and_codes(tmp_path / "second-try_status.txt")
    assert found == [("   S", "0"), (" O S", "0"), ("    ", "0"), ("   S", "0")]
    assert (tmp_path / "result.txt").read_text() == "all is well now\n"
    assert len((tmp_path / "runs.txt").read_text().splitlines()) == 5


# scripts/


def make_clone(folder: Path) -> Path:
    """A clone without .venv: the real scripts and packages under another path."""
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    for name in ("disbatch", "kvsstcp", "exampleTaskFiles"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_program_starts_through_a_symlink_from_another_folder(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    env = python_on_path(tmp_path / "bin")
    (tmp_path / "link").symlink_to(clone / "scripts/disBatch")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "random.py").write_text("raise SystemExit('imported from the working folder')\n")
    (elsewhere / "Tasks").write_text('echo "${PYTHONPATH-none}" > path.txt\n')
    ended = run([tmp_path / "link", "-s", "localhost:1", "-p", "run", "Tasks"], elsewhere, env)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert flags_and_codes(elsewhere / "run_status.txt") == [("    ", "0")]
    assert (elsewhere / "path.txt").read_text() == "none\n"  # how it was started is no business of the tasks


def test_program_prefers_the_venv_of_the_clone(tmp_path: Path) -> None:
    clone = make_clone(tmp_path / "clone")
    wrapper(clone / ".venv/bin/python", f'"{sys.executable}"')
    wrapper(tmp_path / "bin/python3", "echo wrong python; false")
    env = environment(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    ended = run([clone / "scripts/disBatch", "--version"], tmp_path, env)
    assert (ended.returncode, ended.stdout.split()[0]) == (0, "disBatch"), ended.stdout + ended.stderr


def test_copy_of_the_program_needs_disbatch_root(tmp_path: Path) -> None:
    copy = tmp_path / "spool/slurm_script"
    copy.parent.mkdir()
    shutil.copy(ROOT / "scripts/disBatch", copy)
    env = python_on_path(tmp_path / "bin")
    lost = run([copy, "--version"], tmp_path, env)
    assert lost.returncode == 2
    assert "set DISBATCH_ROOT" in lost.stderr
    found = run([copy, "--version"], tmp_path, env | {"DISBATCH_ROOT": str(ROOT)})
    assert found.returncode == 0, found.stderr


def test_demo_shows_tasks_status_and_where_things_are(tmp_path: Path) -> None:
    """With a virtual environment that is up to date, so that nothing has to be installed."""
    clone = make_clone(tmp_path / "clone")
    venv = clone / ".venv"
    wrapper(venv / "bin/python", f'"{sys.executable}"')
    wrapper(venv / "bin/disBatch", f'env PYTHONPATH="{ROOT}" "{sys.executable}" -m disbatch')
    (venv / ".made-for").write_text(f"{clone}\n")
    shutil.copy(clone / "pyproject.toml", venv / ".installed-plain")
    ended = run([clone / "scripts/demo"], tmp_path, environment(TMPDIR=str(tmp_path), CI="true"))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = tmp_path.glob("disBatch-demo.*")
    assert f"Everything is in {folder}" in ended.stdout
    status = (folder / "demo_status.txt").read_text().splitlines()
    assert len(status) == 7
    shown = [line.split(None, 3) for line in ended.stdout.split("Six of the 15")[1].splitlines() if line]
    for fields in (line.split("\t", 14) for line in status[1:]):
        assert [fields[1], fields[2], fields[6]] in [row[:3] for row in shown], fields
    assert max(map(len, ended.stdout.split("Six of the 15")[1].split("Everything")[0].splitlines())) <= 80


def test_scripts_can_be_executed() -> None:
    for path in (*ROOT.glob("scripts/*"), ROOT / ".ci/run"):
        assert path.stat().st_mode & stat.S_IXUSR, path


# README.md


def fenced(info: str) -> list[tuple[str, str]]:
    """The code blocks whose info string begins so: the rest of that string, and the text."""
    pattern = rf"^```{re.escape(info)}(.*?)\n(.*?)^```$"
    return re.findall(pattern, README.read_text(), re.MULTILINE | re.DOTALL)


def test_readme_commands_do_what_the_readme_says(tmp_path: Path) -> None:
    """Each block runs in one folder, in order; the status lines shown are those that come out, but for times and ids."""
    env = reader_environment(make_programs(tmp_path / "bin"), tmp_path)
    folder = tmp_path / "empty"
    folder.mkdir()
    blocks = [block for block in blocks_of(README) if block.kind == "sh run"]
    assert len(blocks) == 3
    said = [run_block(block, folder, env) for block in blocks]
    assert any("2/2 slots busy" in text for text in said), "the picture of a run"
    ((name, shown),) = fenced("text status ")
    (tmp_path / "shown").write_text(shown)
    same = [0, 1, 2, 3, 6, 10, 11, 12, 13, 14]
    assert [[f[i] for i in same] for f in rows(folder / name)] == [
        [f[i] for i in same] for f in rows(tmp_path / "shown")
    ]
    assert flags_and_codes(folder / "second_status.txt") == [
        ("   S", "0"),
        ("   S", "0"),
        (" O S", "0"),
        ("    ", "0"),
    ]


def test_readme_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (ROOT / target).exists(), target
