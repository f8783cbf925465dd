"""One run as a feeding program sees it: keys, lines in, records out, and the end, all beside the program's own threads.

What comes is told to a listener in the session's thread. Who waits for what belongs to `batcher` and `executor`.
"""

import asyncio
import atexit
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from disbatch.api.links import ClientLink, Link, ServingLink
from disbatch.api.loopthread import LoopThread
from disbatch.api.program import Ended, Program
from disbatch.api.result import Record
from disbatch.runtime.prepare import listen
from disbatch.runtime.sources import KvsSource
from kvsstcp.infofile import Info, write_info
from kvsstcp.values import Value

KILL_S = 30.0  # after TERM: disBatch itself gives its tasks a grace before it kills them


class Listener(Protocol):
    """Called in the session's thread; must not wait for anything."""

    def record_came(self, record: Record) -> None: ...

    def status_came(self, snapshot: dict[str, Any]) -> None: ...

    def run_ended(self, ended: Ended) -> None:
        """Once; nothing is called after it."""


class Keys(NamedTuple):
    """What the program tells disBatch, in the order of `KvsSource.SIGN_IN` (formats: Programs that feed tasks)."""

    name: bytes
    done: bytes
    result: bytes
    task: bytes

    @classmethod
    def of(cls, name: str) -> "Keys":
        text = name.encode("utf-8", "surrogateescape")
        return cls(text, text + b" done!", text + b" result", text + b" task")


class Session:
    """What both kinds have in common. `submit`, `finish` and `wait` are for any thread."""

    link: Link

    def __init__(self, name: str, listener: Listener) -> None:
        self.keys = Keys.of(name)
        self._listener = listener
        self._thread = LoopThread(f"disbatch {name}")
        self._over = False

    @property
    def info(self) -> Info:
        """Where the server is, and what is needed to be let in."""
        return self.link.info

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Has the function called in the session's thread."""
        self._thread.call(function, *arguments)

    def submit(self, value: bytes) -> None:
        """One value: a task, a directive, or several lines of them."""
        self.call(self.put_task, value)

    def put_task(self, value: bytes) -> None:
        """The same, in the session's thread."""
        if not self._over:
            self.link.put(self.keys.task, value)

    def finish(self) -> None:
        """Says that no more will come."""
        self.submit(self.keys.done)

    def wait(self) -> None:
        """Returns when the session is over and nothing of it is left; at once in its own thread."""
        if not self._thread.inside:
            self._thread.join()
            _live.pop(self, None)

    def abandon(self) -> None:
        """The process ends now, and the server with it, which ends disBatch: leave no secret behind."""

    def _sign_in(self) -> None:
        for key, text in zip(KvsSource.SIGN_IN, self.keys, strict=True):
            self.link.put(key, text)
        self.link.listen(self.keys.result, lambda data: self._listener.record_came(json.loads(data)))

    async def _end(self, ended: Ended) -> None:
        if self._over:
            return
        self._over = True
        try:
            await self.link.close()
        finally:
            self._listener.run_ended(ended)
            self._thread.stop()


class OwnSession(Session):
    """A server in this process, and disBatch as a process below it.

    `arguments` are disBatch's, which puts its files where they say; with `private_files` they are in the session's own
    folder, and go with it. Raises OSError and DisBatchError when it cannot begin.
    """

    link: ServingLink

    def __init__(
        self, name: str, arguments: Sequence[str], listener: Listener, *, private_files: bool = False
    ) -> None:
        super().__init__(name, listener)
        self._folder = tempfile.mkdtemp(prefix="disbatch-")
        try:
            self.link = ServingLink(listen(None, "address"))
            self._thread.run(self.link.open())
            info_path = os.path.join(self._folder, "server_kvsinfo.txt")
            write_info(info_path, self.link.info)
            prefix = ["-p", os.path.join(self._folder, "run")] if private_files else []
            self._program = Program(["--taskserver", info_path, *prefix, *arguments])
        except BaseException:
            self._thread.stop()
            self._thread.join()
            self._remove_folder()
            raise
        self.call(self._begin)

    @property
    def pid(self) -> int:
        """Process id of disBatch."""
        return self._program.pid

    def stop(self) -> None:
        """Ends disBatch and what it runs: TERM, and later KILL if that is not enough."""
        self.call(self._stop)

    def abandon(self) -> None:
        self._remove_folder()

    def late(self, key: bytes) -> Value | None:
        """A value that nobody had fetched when the session ended."""
        return self.link.take(key)

    def _begin(self) -> None:
        self._sign_in()
        self.link.watch_status(lambda data: self._listener.status_came(json.loads(data)))
        self._thread.loop.add_reader(self._program.pidfd, self._program_ended)

    def _stop(self) -> None:
        if not self._over:
            self._program.signal(signal.SIGTERM)
            self._thread.loop.call_later(KILL_S, self._kill)

    def _kill(self) -> None:
        if not self._over:
            self._program.signal(signal.SIGKILL)

    def _program_ended(self) -> None:
        self._thread.loop.remove_reader(self._program.pidfd)
        self._ending = asyncio.ensure_future(self._wind_up())

    async def _wind_up(self) -> None:
        ended = self._program.reap()
        try:
            await self._end(ended)
        finally:
            self._remove_folder()

    def _remove_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


class JoinedSession(Session):
    """A server that runs already, at which disBatch waits, or will wait, for tasks. Raises ConnectionFailed."""

    link: ClientLink

    def __init__(self, name: str, info: Info, listener: Listener) -> None:
        super().__init__(name, listener)
        self._ending: asyncio.Future[None] | None = None
        self.link = ClientLink(info, self._lost)
        try:
            self._thread.run(self.link.open())
        except BaseException:
            self._thread.stop()
            self._thread.join()
            raise
        self.call(self._sign_in)

    def close(self) -> None:
        """Ends the session here, once the server has all that was put. disBatch goes on."""
        self.call(self._lost, "closed by this program")

    def _lost(self, why: str) -> None:
        # Once: a second task for it could be made when the thread's loop has no turn left for it.
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end(Ended(None, why)))


_live: dict[Session, tuple[int, Callable[[], None]]] = {}


def at_exit(session: Session, close: Callable[[], None]) -> None:
    """Has `close` called when the interpreter ends, if the session has not been waited for before."""
    _live[session] = (os.getpid(), close)


def _close_all() -> None:
    for session, (pid, close) in list(_live.items()):
        if pid != os.getpid():
            continue  # forked: the threads are not here, and the run is not ours
        try:
            close()
        except KeyboardInterrupt:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            session.abandon()
            raise


atexit.register(_close_all)
