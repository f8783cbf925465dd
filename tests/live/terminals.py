"""A pseudo-terminal for the live tests: what runs on it has it as its controlling terminal, as after a login."""

import contextlib
import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Callable

from disbatch_runs import DEADLINE_S, Bench, wait_until

CTRL_C, CTRL_Q, CTRL_S, CTRL_Z = b"\x03", b"\x11", b"\x13", b"\x1a"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """Starts `argv` on a new terminal. `seen` is what it has shown; it is read only while something is waited for."""

    def __init__(self, bench: Bench, *argv: str, term: str = "xterm-256color") -> None:
        self._bench = bench
        self.seen = ""
        self._open = True
        self.master, slave = pty.openpty()
        env = bench.env | {"TERM": term, "COLUMNS": "120", "PS1": "$ ", "HISTFILE": ""}
        self.process = subprocess.Popen(
            # without a fork: this process leads no group
            ["setsid", "--ctty", *argv],
            cwd=bench.path,
            env=env,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)

    @property
    def text(self) -> str:
        """What was shown, without escape sequences."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen)

    def read(self, seconds: float = 0.05) -> None:
        """Takes in what comes within this time."""
        until = time.monotonic() + seconds
        while select.select([self.master], [], [], max(until - time.monotonic(), 0))[0]:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                # nobody holds the other end any more
                return
            self.seen += data.decode("utf-8", "replace")

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def until(self, condition: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
        """Reads until the condition holds."""

        def holds() -> bool:
            self.read()
            return bool(condition())

        def logs() -> str:
            return f"--- terminal\n{self.seen}\n{self._bench.logs()}"

        wait_until(holds, what, seconds=seconds, logs=logs)

    def until_seen(self, text: str, seconds: float = DEADLINE_S) -> None:
        self.until(lambda: text in self.seen, f"{text!r} is shown", seconds)

    def until_blind(self, condition: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
        """Waits for the condition and reads nothing meanwhile."""
        wait_until(condition, what, seconds=seconds, logs=self._bench.logs)

    def ended(self) -> bool:
        return self.process.poll() is not None

    def hang_up(self) -> None:
        """Closes the terminal, as a window that is closed or a login that breaks."""
        if self._open:
            self._open = False
            os.close(self.master)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        self.hang_up()
