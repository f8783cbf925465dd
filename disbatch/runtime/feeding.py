"""Bringing the task list to the driver core, as fast as it wants it: from a file, a stream, or the KVS.

A feeder is asked to `feed` whenever the core may want more; what it has it gives to its sink, the driver's shell.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

from disbatch.core.driver_events import Ending
from disbatch.core.errors import DisBatchError, ListChangedError, MachineError
from disbatch.core.model import Item
from disbatch.runtime.kvs import Kvs
from disbatch.runtime.sources import FileSource, KvsSource, Stranger, StreamSource
from kvsstcp.values import Value

ITEMS_A_TURN = 2000  # items read before the loop looks at anything else


class Sink(Protocol):
    """Where items go."""

    def wants(self) -> int: ...

    def give(self, items: list[Item]) -> None: ...

    def end(self, failure: str) -> None:
        """No more will come; `failure` says why that is too early, or is empty."""

    def fail(self, text: str, ending: Ending) -> None:
        """The list has an error, or cannot be read on: nothing more is to be started. `ending` says which of these."""

    def note(self, text: str) -> None: ...


class Feeder(ABC):
    """What the three have in common: errors of the list, notes, and that giving may ask for more."""

    def __init__(self, source: FileSource | StreamSource | KvsSource, sink: Sink) -> None:
        self.sink = sink
        self._source = source
        self._feeding = False
        self._stopped = False

    def start(self) -> None:
        """The loop runs: begin to listen, and give what is there."""
        self.feed()

    def feed(self) -> None:
        """Gives the sink what it wants, as far as it is there."""
        if self._feeding or self._stopped:
            return
        self._feeding = True
        try:
            self._feed()
            notes = self._source.cleaner.notes
            while notes:
                self.sink.note(notes.pop(0))
        except DisBatchError as error:
            self._fail(error)
        finally:
            self._feeding = False

    def stop(self) -> None:
        """Nothing more is wanted."""
        self._stopped = True

    @abstractmethod
    def _feed(self) -> None: ...

    def _end(self, failure: str = "") -> None:
        self.stop()
        self.sink.end(failure)

    def _fail(self, error: DisBatchError) -> None:
        self.stop()
        endings = {ListChangedError: Ending.LIST_CHANGED, MachineError: Ending.LIST_UNREADABLE}
        self.sink.fail(str(error), endings.get(type(error), Ending.BAD_LIST))


class FileFeeder(Feeder):
    """A long stretch (of skipped tasks, say) is given in pieces, so that others get their turn.

    A file that has changed since it was checked is noticed before anything of it is given.
    """

    _source: FileSource

    def __init__(self, source: FileSource, sink: Sink) -> None:
        super().__init__(source, sink)
        self._items: Iterator[Item] = source.items()

    def _feed(self) -> None:
        done = 0
        while (wants := self.sink.wants()) and done < ITEMS_A_TURN:
            items = list(islice(self._items, wants))
            self._source.verify()
            if not items:
                self._end()
                return
            done += len(items)
            self.sink.give(items)
        if self.sink.wants():
            asyncio.get_running_loop().call_soon(self.feed)


class StreamFeeder(Feeder):
    """Reads when the loop says that there is something, and no further ahead than `StreamSource.full`."""

    _source: StreamSource

    def __init__(self, source: StreamSource, sink: Sink) -> None:
        super().__init__(source, sink)
        self._reading = False

    def stop(self) -> None:
        super().stop()
        self._stop_reading()

    def _feed(self) -> None:
        _give_all(self._source, self.sink)
        if self._source.drained and self.sink.wants():
            self._end()
        elif not self._source.full and not self._source.ended:
            self._start_reading()

    def _start_reading(self) -> None:
        if self._reading:
            return
        self._reading = True
        loop = asyncio.get_running_loop()
        try:
            loop.add_reader(self._source.fileno(), self._moved)
        except PermissionError:  # epoll takes no such file (/dev/null): it never blocks either
            self._reading = False
            loop.call_soon(self._moved)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._source.fileno())

    def _moved(self) -> None:
        if self._stopped:
            return
        try:
            self._source.read()
        except DisBatchError as error:
            self._fail(error)
            return
        if self._source.full or self._source.ended:
            self._stop_reading()
        self.feed()


class FeedListener(Protocol):
    """Who is told what the feeder finds beside tasks."""

    def signed_in(self) -> None: ...

    def stranger(self, other: Stranger) -> None: ...

    def came_late(self) -> None:
        """The first of the tasks that came behind the end of the list."""


class KvsFeeder(Feeder):
    """Values under the task key, after the program has said what its keys are (formats: Programs that feed tasks)."""

    _source: KvsSource

    def __init__(self, source: KvsSource, sink: Sink, kvs: Kvs, listener: FeedListener) -> None:
        super().__init__(source, sink)
        self._kvs = kvs
        self._listener = listener

    def start(self) -> None:
        for number, key in enumerate(KvsSource.SIGN_IN):
            self._kvs.subscribe(key, lambda value, number=number: self._introduced(number, value))  # type: ignore[misc]

    def program_ended(self, failure: str) -> None:
        """The program that feeds is gone: what came from it is all that there will be."""
        if not self._source.ended:
            self._source.break_off(failure)
        self.feed()

    def _introduced(self, number: int, value: Value) -> None:
        if self._source.introduce(number, value.data):
            self._listener.signed_in()
            self._kvs.subscribe(self._source.task_key, self._came)
        other = self._source.take_stranger()
        if other is not None:
            self._listener.stranger(other)

    def _came(self, value: Value) -> None:
        late = self._source.late
        self._source.push(value.coding, value.data)
        if self._source.late and not late:
            self._listener.came_late()
        self.feed()

    def _feed(self) -> None:
        _give_all(self._source, self.sink)
        if self._source.drained and self.sink.wants():
            self._end(self._source.failure)


def _give_all(source: StreamSource | KvsSource, sink: Sink) -> None:
    while wants := sink.wants():
        items = source.take(wants)
        if not items:
            return
        sink.give(items)
