"""One run as a feeding program sees it: keys, lines in, records out, and the end, all beside the program's own threads.

What comes is told to a listener in the session's thread. Who waits for what belongs to `batcher` and `jobs`.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from disbatch.api import live
from disbatch.api.arguments import listen_address
from disbatch.api.endwatch import RunEnded
from disbatch.api.links import NO_CONNECTION, ClientLink, Link, ServingLink
from disbatch.api.loopthread import LoopThread
from disbatch.api.machines import Machines
from disbatch.api.program import Ended, Program, driver_command
from disbatch.api.result import Record
from disbatch.runtime.listening import listen_for_engines
from disbatch.runtime.sources import KvsSource
from kvsstcp.infofile import Info, write_info
from kvsstcp.values import Value

KILL_S = 30.0  # after TERM: disBatch itself gives its tasks a grace before it kills them
INFO_NAME = "server_kvsinfo.txt"
FOLDER_PREFIX = ".disbatch-"
_REMOVED = "a temporary file that is removed by now (prefix= keeps the files of a run)"


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
    """What both kinds have in common. `submit`, `finish` and `wait` are for any thread of the process that made it."""

    link: Link

    def __init__(self, name: str, listener: Listener) -> None:
        self.keys = Keys.of(name)
        self._pid = os.getpid()
        self._listener = listener
        self._over = False  # nothing more is put
        self._told = False  # the listener has heard of the end
        self._thread = LoopThread(f"disbatch {name}", self._broke)

    @property
    def info(self) -> Info:
        """Where the server is, and what is needed to be let in."""
        return self.link.info

    @property
    def foreign(self) -> bool:
        """Whether this process was forked from the one that made the session: nothing of it works here."""
        return os.getpid() != self._pid

    def check_own(self) -> None:
        """Raises RuntimeError in a process that was forked."""
        if self.foreign:
            raise RuntimeError(
                f"this object belongs to process {self._pid}, from which this one was forked; make one here"
            )

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
        """Returns when the session is over and nothing of it is left; at once in its own thread, and where it is foreign."""
        if not (self._thread.inside or self.foreign):
            self._thread.join()
            live.over(self)

    def descriptors(self) -> list[int]:
        """What a forked child has no use for."""
        return self.link.descriptors()

    def abandon(self) -> None:
        """The process ends now, and the server with it, which ends disBatch: leave no secret behind."""

    def _sign_in(self) -> None:
        for key, text in zip(KvsSource.SIGN_IN, self.keys, strict=True):
            self.link.put(key, text)
        self.link.listen(self.keys.result, lambda data: self._listener.record_came(json.loads(data)))

    def _tell_end(self, ended: Ended) -> None:
        if not self._told:
            self._told = True
            self._listener.run_ended(ended)

    def _broke(self, error: BaseException) -> None:
        """An exception that no program expects has come out of the session's thread: nothing can be relied on any more."""
        self._over = True
        what = f"a callback has left the thread of this session by {type(error).__name__}"
        try:
            self._tell_end(Ended(None, "", f"{what}: {error}" if str(error) else what))
        finally:
            self._break_off()

    def _break_off(self) -> None:
        raise NotImplementedError


class OwnSession(Session):
    """A server in this process, and disBatch as a process below it.

    `arguments` are disBatch's, which puts its files where they say; with `private_files_in` they are in the session's own
    folder, which is made there, and go with it. Raises OSError and DisBatchError when it cannot begin.
    """

    link: ServingLink

    def __init__(
        self, name: str, arguments: Sequence[str], listener: Listener, *, private_files_in: str | None = None
    ) -> None:
        self._machines = Machines()
        self._program: Program | None = None
        self._end: RunEnded | None = None
        self._ending: asyncio.Future[None] | None = None
        self._private_files = private_files_in is not None
        address = listen_address(arguments)
        self._folder = tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=private_files_in)
        try:
            listening = listen_for_engines(address)
        except BaseException:
            self._remove_folder()
            raise
        try:
            self.link = ServingLink(listening)
            super().__init__(name, listener)
        except BaseException:
            listening.sock.close()
            self._remove_folder()
            raise
        try:
            self._thread.run(self.link.open())
            info_path = os.path.join(self._folder, INFO_NAME)
            write_info(info_path, self.link.advertised)
            prefix = ["-p", os.path.join(self._folder, "run")] if self._private_files else []
            options = ["--taskserver", info_path, *prefix, *arguments]
            self._program = Program(driver_command(self._folder, options))
        except BaseException:
            self._thread.run(self.link.close())
            self._thread.stop()
            self._thread.join()
            self._remove_folder()
            raise
        live.began(self)
        self.call(self._begin)

    @property
    def pid(self) -> int:
        """Process id of disBatch."""
        assert self._program is not None
        return self._program.pid

    def stop(self) -> None:
        """Ends disBatch and what it runs: TERM, and later KILL if that is not enough."""
        if not self.foreign:
            self.call(self._stop)

    def add_machines(self, options: Sequence[str]) -> None:
        """Has a context with these options of `disbatch-ctl` join the run, as soon as that is there."""
        self.call(self._machines.add, options)

    def abandon(self) -> None:
        """disBatch removes the folder at its end, if it still runs: its files are there."""
        if self._program is not None and self._program.running:
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self._folder, INFO_NAME))
        else:
            self._remove_folder()

    def descriptors(self) -> list[int]:
        program = self._program.descriptors() if self._program else ()
        return [*self.link.descriptors(), *program, *self._machines.descriptors()]

    def late(self, key: bytes) -> Value | None:
        """A value that nobody had fetched when the session ended."""
        return self.link.take(key)

    def _begin(self) -> None:
        assert self._program is not None
        self._sign_in()
        self.link.watch_end(self.keys.result, self._end_came)
        self.link.watch_status(self._status_came)
        self._thread.loop.add_reader(self._program.said.descriptor, self._said)
        self._thread.loop.add_reader(self._program.pidfd, self._program_ended)

    def _said(self) -> None:
        assert self._program is not None
        if not self._program.said.read():
            self._thread.loop.remove_reader(self._program.said.descriptor)

    def _status_came(self, data: bytes) -> None:
        if not self._machines.known:
            prefix = self.link.run_prefix()
            if prefix is not None:
                self._machines.found(prefix)
        self._listener.status_came(json.loads(data))

    def _end_came(self, end: RunEnded) -> None:
        self._end = end

    def _stop(self) -> None:
        assert self._program is not None
        if self._ending is None:
            self._program.signal(signal.SIGTERM)
            self._thread.loop.call_later(KILL_S, self._kill)

    def _kill(self) -> None:
        assert self._program is not None
        if self._ending is None:
            self._program.signal(signal.SIGKILL)

    def _break_off(self) -> None:
        self._stop()

    def _program_ended(self) -> None:
        assert self._program is not None
        self._thread.loop.remove_reader(self._program.said.descriptor)
        self._thread.loop.remove_reader(self._program.pidfd)
        self._ending = asyncio.ensure_future(self._wind_up())

    async def _wind_up(self) -> None:
        assert self._program is not None
        self._over = True
        ended = self._program.reap()
        try:
            await self.link.close()
            await self._machines.finish()
        finally:
            try:
                self._tell_end(self._in_words(ended))
            finally:
                self._remove_folder()
                self._thread.stop()

    def _in_words(self, ended: Ended) -> Ended:
        """With the exit code that disBatch itself has told, where nobody else knows it, and without files that are gone."""
        returncode, said = ended.returncode, ended.said
        if returncode is None and self._end is not None:
            returncode = self._end.exit_code
        if self._private_files:
            said = re.sub(rf"{re.escape(self._folder)}(/[^\s;,:)]+)?", _REMOVED, said)
        return Ended(returncode, said)

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
            self._thread.run(self.link.open(self.keys.result))
        except BaseException:
            self._thread.stop()
            self._thread.join()
            raise
        live.began(self)
        self.call(self._sign_in)

    def close(self) -> None:
        """Ends the session here, once the server has all that was put. disBatch goes on."""
        if not self.foreign:
            self.call(self._lost, Ended(None, "closed by this program", NO_CONNECTION))

    def _sign_in(self) -> None:
        super()._sign_in()
        self.link.watch_end(self.keys.result)

    def _break_off(self) -> None:
        self._lost(Ended(None, ""))

    def _lost(self, ended: Ended) -> None:
        # Once: a second task for it could be made when the thread's loop has no turn left for it.
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._finish(ended))

    async def _finish(self, ended: Ended) -> None:
        self._over = True
        try:
            await self.link.close()
        finally:
            self._tell_end(ended)
            self._thread.stop()
