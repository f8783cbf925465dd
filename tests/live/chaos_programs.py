"""Programs that print to a terminal, a pipe or a file which can be taken away from them, and who is below them."""

import contextlib
import os
import select
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

from disbatch_runs import children


class Output:
    """What a program prints to: a terminal that is its own, a pipe, or a file. `close` takes the other end away."""

    def __init__(self, kind: str, path: Path) -> None:
        self.kind = kind
        self.path = path
        self._closing = threading.Event()
        self._reader: threading.Thread | None = None
        if kind == "file":
            self.child = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
            return
        if kind == "terminal":
            ours, self.child = os.openpty()
        else:
            ours, self.child = os.pipe()
        self._reader = threading.Thread(target=self._read, args=(ours,))
        self._reader.start()

    def start(self, words: list[str], folder: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
        """Starts the program in a session of its own, as a terminal or a login does. Our copy of its end is closed."""
        terminal = self.kind == "terminal"
        stdin = self.child if terminal else subprocess.DEVNULL
        words = ["setsid", *(["--ctty"] if terminal else []), *words]
        try:
            return subprocess.Popen(
                words,
                cwd=folder,
                env=env | {"TERM": "xterm"},
                stdin=stdin,
                stdout=self.child,
                stderr=self.child,
            )
        finally:
            os.close(self.child)

    def close(self) -> None:
        self._closing.set()
        if self._reader:
            self._reader.join()

    def text(self) -> str:
        return self.path.read_text(errors="replace") if self.path.exists() else ""

    def _read(self, ours: int) -> None:
        with open(self.path, "ab", buffering=0) as file:
            while not self._closing.is_set():
                if select.select([ours], [], [], 0.02)[0]:
                    try:
                        data = os.read(ours, 65536)
                    except OSError:  # a terminal that nobody has open any more
                        break
                    if not data:
                        break
                    file.write(data)
        os.close(ours)


class Program(NamedTuple):
    """The driver or a context, started."""

    process: subprocess.Popen[bytes]
    output: Output

    def roles(self, own: str) -> dict[str, list[int]]:
        """Process ids by what they are: `own`, and the guards and engines below it."""
        living = self.process.poll() is None
        below = children(self.process.pid) if living else []
        guards = [pid for pid in below if _is_ours(pid)]
        return {
            own: [self.process.pid] if living else [],
            f"{own}'s guard": guards,
            f"{own}'s engine": [pid for guard in guards for pid in children(guard) if _is_ours(pid)],
            f"{own}'s helper": [pid for pid in below if pid not in guards],
        }

    def discard(self) -> None:
        self.output.close()


def _is_ours(pid: int) -> bool:
    """Whether it is a guard or an engine, which go by the name of their session."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().startswith("dB")
    return False
