"""The manual page is rendered by man without a complaint, and completion works in real shells, as a person types."""

import contextlib
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disbatch_runs import ROOT

from disbatch.help.__main__ import files, write

LIMIT_S = 15.0
KILL_LINE = "\x15"
MANUALS = [path for path in files() if path.endswith(".1")]


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files, as an installation has them."""
    folder = tmp_path_factory.mktemp("prefix")
    write(folder)
    return folder


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def rendered(path: Path, width: int) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": str(width), "MANPAGER": "cat"}
    argv = [tool("man"), "--warnings=w", "-E", "UTF-8", "-l", str(path)]
    return subprocess.run(argv, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30)


@pytest.mark.parametrize("path", MANUALS)
def test_manual_page_is_rendered_without_warnings(prefix: Path, path: str) -> None:
    for width in (60, 80, 120):
        done = rendered(prefix / path, width)
        assert (done.returncode, done.stderr) == (0, "")
        text = re.sub(r".\x08", "", done.stdout)
        assert max(map(len, text.splitlines())) <= width + 2
        for heading in ("NAME", "SYNOPSIS", "OPTIONS"):
            assert re.search(rf"^{heading}$", text, re.MULTILINE), heading


def test_the_check_of_pages_sees_a_bad_one(tmp_path: Path) -> None:
    (tmp_path / "bad.1").write_text('.TH BAD 1 "" "" ""\n.SH NAME\nbad \\- \\f[nosuchfont]x\n.nosuch\n')
    assert rendered(tmp_path / "bad.1", 80).stderr != ""


class Terminal:
    """A shell at a terminal of its own."""

    def __init__(self, argv: list[str], env: dict[str, str], folder: Path) -> None:
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execve(argv[0], argv, env)
        self.seen = ""

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self._fd, text.encode())

    def until(self, pattern: str) -> str:
        """Reads until the pattern is on the screen; what was seen since the last typing."""
        deadline = time.monotonic() + LIMIT_S
        while not re.search(pattern, self.seen):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} did not come in {LIMIT_S} s: {self.seen!r}"
            if select.select([self._fd], [], [], left)[0]:
                data = os.read(self._fd, 4096).decode("utf-8", "replace")
                self.seen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x07|\x1b[=>]", "", data)
        return self.seen

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._fd, b"\x03\x04exit\n")
        os.close(self._fd)
        os.waitpid(self._pid, 0)


def shell_environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
        "PS1": "@> ",
    }


@pytest.fixture(params=["bash", "zsh"], scope="module")
def shell(
    request: pytest.FixtureRequest, prefix: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Terminal]:
    """At its prompt in a folder with a few files, with completion for our programs."""
    tmp_path = tmp_path_factory.mktemp("shell")
    for name in ("Tasks.txt", "run_status.txt", "run_driver.txt"):
        (tmp_path / name).touch()
    if request.param == "bash":
        argv = [tool("bash"), "--norc", "-i"]
        setup = f'for file in {prefix}/share/bash-completion/completions/*; do source "$file"; done'
    else:
        setup = f"fpath=({prefix}/share/zsh/site-functions $fpath); autoload -U compinit; compinit -u -D"
        argv = [tool("zsh"), "-f", "-i"]
    terminal = Terminal(argv, shell_environment(tmp_path), tmp_path)
    terminal.until("@> ")
    terminal.type(f"{setup}; echo re''ady\n")
    terminal.until(r"ready\s+.*@> ")
    yield terminal
    terminal.close()


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("disBatch --mailF", "--mailFreq[ =]"),
        ("disBatch --loglevel DEB", "DEBUG "),
        ("disBatch --loglevel=DEB", "DEBUG"),
        ("disBatch -r ru", r"run_status\.txt"),
        ("disBatch --resume-from ru", r"run_status\.txt"),
        ("disBatch -s loc", r"localhost(\\)?:\d"),
        ("disBatch -s localhost:2 -p x Ta", r"Tasks\.txt"),
        ("disBatch --kvsserver --dry", "--dry-run"),
        ("disbatch-report ru", r"run_status\.txt"),
        ("disbatch-ctl run_s", r"run_status\.txt"),
        ("disbatch-ctl run --stop-c", "--stop-context"),
    ],
)
def test_tab_completes(shell: Terminal, typed: str, becomes: str) -> None:
    shell.type(KILL_LINE + typed + "\t")
    shell.until(becomes)


def test_two_tabs_list_what_there_is(shell: Terminal) -> None:
    shell.type(KILL_LINE + "disBatch --re\t\t")
    seen = shell.until(r"--retry")
    assert "--resume-from" in seen


def test_scripts_are_accepted_by_their_shells(prefix: Path) -> None:
    for path in sorted(prefix.glob("share/bash-completion/completions/*")):
        done = subprocess.run([tool("bash"), "-n", str(path)], capture_output=True, text=True, timeout=10)
        assert (done.returncode, done.stderr) == (0, ""), path
    for path in sorted(prefix.glob("share/zsh/site-functions/*")):
        done = subprocess.run([tool("zsh"), "-n", str(path)], capture_output=True, text=True, timeout=10)
        assert (done.returncode, done.stderr) == (0, ""), path


@pytest.mark.slow
def test_package_brings_pages_and_completions(tmp_path: Path) -> None:
    """Built and installed as a user does it; the build works in a copy, as it leaves folders behind."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("disbatch", "kvsstcp"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = [
        "--no-deps",
        "--ignore-installed",
        "--retries",
        "1",
        "--prefix",
        str(tmp_path / "installed"),
        str(source),
    ]
    ours = Path(sys.prefix) / "bin/disBatch"
    was_there = ours.exists()
    done = subprocess.run([*pip, "install", *options], capture_output=True, text=True, timeout=110)
    assert ours.exists() == was_there, "the installation that runs the tests has been touched"
    if "Could not fetch" in done.stderr or "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("the package index cannot be reached")
    assert done.returncode == 0, done.stderr
    made = {path: (tmp_path / "installed" / path).read_text() for path in files()}
    assert made == files()
