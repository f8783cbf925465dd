"""What --help shows, at terminals of several widths."""

import os
import pty
import subprocess
import sys

import pytest
from disbatch_runs import ROOT

PROGRAMS = ("disbatch", "disbatch.ctl", "disbatch.report")


def environment(**more: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"PYTHONPATH": str(ROOT)} | more


def help_text(program: str, columns: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", program, "--help"],
        env=environment(COLUMNS=str(columns)),
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_no_line_is_wider_than_the_terminal(program: str) -> None:
    lengths = [max(map(len, help_text(program, columns).splitlines())) for columns in (60, 80, 120)]
    assert lengths[0] <= 60 and lengths[1] <= 80 and lengths[2] <= 120
    assert lengths[1] > 60  # it uses the room that there is


def test_help_ends_with_three_examples() -> None:
    _, found, examples = help_text("disbatch", 80).partition("\nexamples:\n")
    assert found
    commands = [line for line in examples.splitlines() if not line.startswith("      ")]
    assert len(commands) == 3 and all("disBatch " in line for line in commands)
    assert examples.count("\n      ") == 3


def test_options_stand_in_groups() -> None:
    text = help_text("disbatch", 80)
    headings = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert headings[0] == "positional arguments:" and headings[-2:] == [
        "context specific arguments:",
        "examples:",
    ]
    assert len(headings) == 9


def test_width_is_that_of_a_real_terminal() -> None:
    """Without COLUMNS the terminal itself is asked."""
    leader, follower = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 66, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "disbatch", "--help"],
        env=environment(),
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    seen = b""
    try:
        while data := os.read(leader, 65536):
            seen += data
    except OSError:  # the other end is closed
        pass
    os.close(leader)
    assert process.wait(30) == 0
    widest = max(map(len, seen.decode().replace("\r", "").splitlines()))
    assert 58 <= widest <= 66
