"""`DisBatcher`: the interface that disBatch has always had for Python programs. `executor` is the newer one."""

import os
from collections import deque
from collections.abc import Iterable, Sequence
from threading import Condition, Thread
from types import TracebackType
from typing import Any

from disbatch.api.arguments import PathText, checked_name, checked_options
from disbatch.api.command import check_length
from disbatch.api.errors import RunFailed
from disbatch.api.live import at_exit
from disbatch.api.program import Ended
from disbatch.api.result import Record
from disbatch.api.session import JoinedSession, OwnSession
from disbatch.core.errors import UsageError
from kvsstcp.client import Client
from kvsstcp.infofile import info_from_argument
from kvsstcp.values import as_key

_GOOD_ENDS = (0, 1)  # 1: tasks failed and -e, -f or a CHECK says that this matters; their records are here


class DisBatcher:
    """Feeds tasks to disBatch. Without `kvsserver` a KVS server is started in this process and disBatch below it, with
    `args` (`["-s", "localhost:4"]`); with it (HOST:PORT or the path of an info file) disBatch is somebody else's business:
    it waits at that server (`--taskserver`), or has started this program (`--taskcommand`).

    `tasksname` begins the names of the keys in the KVS. Calls that wait raise RunFailed when disBatch ends before what
    they wait for. With `with`, the end of the block is `done`, or the end of the run where an exception leaves it.
    May be used by several threads. Raises OSError, UsageError and ConnectionFailed when it cannot begin.
    """

    def __init__(
        self,
        tasksname: str = "DisBatcher",
        args: Sequence[PathText] = [],  # as it always was; never changed
        kvsserver: PathText | None = None,
    ) -> None:
        options = checked_options(args)
        checked_name(tasksname)
        self.donetask = tasksname + " done!"
        self.resultkey = tasksname + " result"
        self.taskkey = tasksname + " task"
        self.tid2status: dict[int, Record] = {}
        """Every record that `wait_one_task` returned or `syncTasks` met, by task id."""
        self.returncode: int | None = None
        """The exit code of disBatch, once it has ended and that is known."""
        self._changed = Condition()
        self._came: deque[Record] = deque()  # finished, and not looked at by anybody
        self._ended: Ended | None = None
        self._done = False
        self._kvs: Kvs | None = None
        self._own: OwnSession | None = None
        self._waiting: Thread | None = None
        if kvsserver is None:
            self._own = OwnSession(tasksname, options, self)
            self._session: OwnSession | JoinedSession = self._own
            at_exit(self._own, self.done)
        else:
            self._session = JoinedSession(tasksname, info_from_argument(os.fspath(kvsserver)), self)
            at_exit(self._session, self.close)  # what was put has to arrive

    def submit(self, c: str | bytes) -> None:
        """Hands over a task or directive, or several lines of them (they share one line number). Counting their task
        ids, from 0 and with one for each barrier, is up to the caller. Raises UsageError after `done`, RunFailed."""
        if not isinstance(c, str | bytes):
            raise TypeError(f"a task is a str or bytes, not {type(c).__name__}: {c!r:.100}")
        line = c.encode("utf-8", "surrogateescape") if isinstance(c, str) else c
        check_length(line)
        self._session.check_own()
        with self._changed:
            if self._done:
                raise UsageError("nothing can be submitted after done()")
            if self._ended is not None:
                raise self._failure("disBatch takes no more tasks")
        self._session.submit(line)

    def wait_one_task(self) -> Record:
        """The record of the next task that has finished, in the order in which they do. Raises RunFailed when disBatch
        has ended and no record is left."""
        self._session.check_own()
        with self._changed:
            return self._next("no finished task is left")

    def syncTasks(self, taskIds: Iterable[int]) -> dict[int, Record]:
        """Waits until all of these tasks have finished; returns their records by task id. Records of other tasks that
        it meets are kept in `tid2status`, and not returned by `wait_one_task` later. Raises RunFailed when disBatch
        ends before."""
        self._session.check_own()
        wanted = list(dict.fromkeys(taskIds))
        with self._changed:
            while missing := [i for i in wanted if i not in self.tid2status]:
                shown = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
                self._next(f"these tasks have not finished: {shown}")
            return {i: self.tid2status[i] for i in wanted}

    def done(self) -> None:
        """No more tasks will come. Where disBatch was started here, waits for its end, and raises RunFailed if it ended
        otherwise than by having done everything; records can still be asked for. May be called again. Without effect in a
        process that was forked."""
        if self._session.foreign:
            return
        with self._changed:
            first, self._done = not self._done, True
        if first:
            self._session.finish()
        if self._own is not None:
            self._wait_for_end(self._own)
            with self._changed:
                if self.returncode not in _GOOD_ENDS:
                    raise self._failure("not everything was done")

    def close(self) -> None:
        """Lets go of the server. A run that was started here, and that `done` has not ended, is ended with its tasks.
        Without effect in a process that was forked."""
        if self._session.foreign:
            return
        if self._kvs is not None:
            self._kvs.close()
        if self._own is not None:
            self._own.stop()
            self._own.wait()
        elif isinstance(self._session, JoinedSession):
            self._session.close()
            self._session.wait()

    def __enter__(self) -> "DisBatcher":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.done()
        finally:
            self.close()

    @property
    def kvs(self) -> "Kvs":
        """The store, to ask for what `#DISBATCH BARRIER KEY` puts there. Connects when it is first used."""
        if self._kvs is None:
            self._kvs = Kvs(self, Client(self._session.info))
        return self._kvs

    @property
    def db_thread(self) -> Thread | None:
        """A thread that lasts as long as the run that was started here, for `join` and `is_alive`; None where it is somebody else's."""
        with self._changed:
            if self._own is not None and self._waiting is None:
                self._waiting = Thread(target=self._own.wait, name="disBatch's end", daemon=True)
                self._waiting.start()
            return self._waiting

    # -- the session's listener, in its thread

    def record_came(self, record: Record) -> None:
        with self._changed:
            self._came.append(record)
            self._changed.notify_all()

    def status_came(self, snapshot: dict[str, Any]) -> None:
        pass

    def run_ended(self, ended: Ended) -> None:
        with self._changed:
            self._ended = ended
            self.returncode = ended.returncode
            self._changed.notify_all()

    # -- inside

    def _next(self, otherwise: str) -> Record:
        """Waits for a record that has not been looked at, notes and returns it. Called with the lock held."""
        while not self._came:
            if self._ended is not None:
                raise self._failure(otherwise)
            self._changed.wait()
            if not self._came:
                return self._next(otherwise)
        record = self._came.popleft()
        self.tid2status[record["TaskId"]] = record
        return record

    def _failure(self, what: str) -> RunFailed:
        assert self._ended is not None
        return RunFailed(f"{what}: {self._ended.text}")

    def _wait_for_end(self, session: OwnSession) -> None:
        try:
            session.wait()
        except BaseException:  # an interrupt: nobody waits any longer
            session.stop()
            raise

    def _after_end(self, key: str | bytes, error: Exception) -> bytes:
        """A value that was still there when the server ended. Raises RunFailed."""
        if self._own is None:
            raise RunFailed(f"nothing came under {key!r}: {error}") from error
        self._own.wait()
        value = self._own.late(as_key(key))
        if value is None:
            with self._changed:
                raise self._failure(f"nothing was put under {key!r}") from error
        return value.data


class Kvs:
    """A connection to the store, with the calls of the predecessor's client that such programs need. Values are bytes.

    For one thread at a time; `clone` makes another.
    """

    def __init__(self, batcher: DisBatcher, client: Client) -> None:
        self._batcher = batcher
        self._client = client

    def put(self, key: str | bytes, value: str | bytes, encoding: bool | str | bytes = False) -> None:
        """Appends text or bytes to the key. Raises TypeError for other objects: nothing is pickled here."""
        if not isinstance(value, str | bytes):
            raise TypeError(f"only text and bytes go into the store, not {type(value).__name__}; use JSON")
        self._client.put(key, value)

    def get(self, key: str | bytes, encoding: bool | str | bytes = True) -> bytes:
        """The oldest value of the key, removed; waits for one. Raises RunFailed when disBatch ends before."""
        return self._read(self._client.get, key)

    def view(self, key: str | bytes, encoding: bool | str | bytes = True) -> bytes:
        """The newest value of the key, which stays; waits for one. Raises RunFailed when disBatch ends before."""
        return self._read(self._client.view, key)

    def clone(self) -> "Kvs":
        """Another connection."""
        return Kvs(self._batcher, self._client.clone())

    def close(self) -> None:
        """Ends the connection."""
        self._client.close()

    def _read(self, operation: Any, key: str | bytes) -> bytes:
        try:
            value: bytes = operation(key).data
            return value
        except ConnectionError as error:  # this server, or its client, has ended
            return self._batcher._after_end(key, error)
        except BaseException:  # an interrupt: what was asked for is still under way on this connection
            self._client.close()
            raise
