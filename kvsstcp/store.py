"""The store itself: keys with queues of values, readers that wait, monitors. Pure: no socket, no clock.

Readers are opaque hashable objects; one reader waits for one value at a time. What an operation gives to readers that
were waiting is gathered in `due`, in order, for the caller to carry out: so nothing of the caller's runs while the
store is between two states.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from kvsstcp.errors import BadMonitor
from kvsstcp.limits import DEFAULT_LIMITS, Limits
from kvsstcp.values import ASTR, Value

Reader = TypeVar("Reader")

EVENTS = {"g": b"get", "p": b"put", "v": b"view", "w": b"wait"}


class Counts:
    """How often what was done since the start. `answered`: waits that ended with a value."""

    __slots__ = ("answered", "gets", "puts", "views", "waits")

    def __init__(self) -> None:
        self.gets = self.puts = self.views = self.waits = self.answered = 0


class KeySummary(NamedTuple):
    """One key that holds values, for dumps."""

    key: bytes
    values: int
    newest: Value


class Store(Generic[Reader]):
    """See the module. A single value stands directly in the table and becomes a queue with the second: a million
    results that nobody has fetched yet cost a tenth of the memory that as many queues would."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS):
        self._values: dict[bytes, Value | deque[Value]] = {}
        self._waiting: dict[bytes, dict[Reader, bool]] = {}
        self._waits_on: dict[Reader, bytes] = {}
        # Watched key (None: every key) -> monitor key -> letters of EVENTS.
        self._watched: dict[bytes | None, dict[bytes, str]] = {}
        self._monitor_keys: dict[bytes, int] = {}
        self._monitor_count = 0
        self._monitor_max = limits.monitors
        self.counts = Counts()
        self.due: list[tuple[Reader, Value]] = []

    def put(self, key: bytes, value: Value) -> None:
        """Give `value` to every waiting view and to the oldest waiting get of `key`; store it when no get took it."""
        self.counts.puts += 1
        if self._watched:
            self._report("p", key)
        if key in self._waiting and self._hand_over(key, value):
            return
        held = self._values.get(key)
        if held is None:
            self._values[key] = value
        elif isinstance(held, deque):
            held.append(value)
        else:
            self._values[key] = deque((held, value))

    def get(self, reader: Reader, key: bytes) -> Value | None:
        """The oldest value, removed; None: the reader waits now. Ends what the reader waited for before."""
        if reader in self._waits_on:
            self.cancel(reader)
        value = self.take(key)
        if value is None:
            self._wait(reader, key, True)
        return value

    def view(self, reader: Reader, key: bytes) -> Value | None:
        """The newest value, which stays; None: the reader waits now. Ends what the reader waited for before."""
        if reader in self._waits_on:
            self.cancel(reader)
        held = self._values.get(key)
        if held is None:
            self._wait(reader, key, False)
            return None
        self._count_read("v", key)
        return held[-1] if isinstance(held, deque) else held

    def take(self, key: bytes) -> Value | None:
        """The oldest value, removed; None when there is none."""
        held = self._values.get(key)
        if held is None:
            return None
        if isinstance(held, deque):
            value = held.popleft()
            if not held:
                del self._values[key]
        else:
            value = held
            del self._values[key]
        self.counts.gets += 1
        if self._watched:
            self._report("g", key)
        return value

    def drop(self, key: bytes) -> None:
        """Forget the stored values of `key`. No event: nobody read them."""
        self._values.pop(key, None)

    def cancel(self, reader: Reader) -> None:
        """End the reader's wait, if there is one. To be called when a reader goes away."""
        key = self._waits_on.pop(reader, None)
        if key is not None:
            waiting = self._waiting[key]
            del waiting[reader]
            if not waiting:
                del self._waiting[key]

    def monitor(self, monitor_key: bytes, what: bytes) -> None:
        """Put an event under `monitor_key` for each of EVENTS on KEY, where `what` is `KEY:EVENTS` (KEY empty: every
        key). Events not named are no longer reported. Raises BadMonitor."""
        watched, colon, letters = what.rpartition(b":")
        if not colon:
            raise BadMonitor(f"a monitor is KEY:EVENTS, not {what[:80]!r}")
        events = "".join(letter for letter in EVENTS if letter.encode() in letters)
        if len(events) != len(set(letters)):
            raise BadMonitor(f"events are letters of gpvw, not {letters[:80]!r}")
        place = watched or None
        if self._watched.get(place, {}).pop(monitor_key, None) is not None:
            self._monitor_count -= 1
            self._forget_monitor_key(monitor_key)
            if not self._watched[place]:
                del self._watched[place]
        if not events:
            return
        if self._monitor_count >= self._monitor_max:
            raise BadMonitor(f"there are {self._monitor_count} monitors already, which is the limit")
        self._watched.setdefault(place, {})[monitor_key] = events
        self._monitor_keys[monitor_key] = self._monitor_keys.get(monitor_key, 0) + 1
        self._monitor_count += 1

    @property
    def value_count(self) -> int:
        """Values stored now."""
        return sum(len(held) if isinstance(held, deque) else 1 for held in self._values.values())

    def summaries(self) -> Iterator[KeySummary]:
        """Every key that holds values."""
        for key, held in self._values.items():
            if isinstance(held, deque):
                yield KeySummary(key, len(held), held[-1])
            else:
                yield KeySummary(key, 1, held)

    def waiters(self) -> Iterator[tuple[bytes, int]]:
        """Every key that is waited for, with the number of readers."""
        return ((key, len(readers)) for key, readers in self._waiting.items())

    def check_invariants(self) -> None:
        """For tests: the tables that say the same thing in two ways agree."""
        pairs = {(reader, key) for key, readers in self._waiting.items() for reader in readers}
        assert pairs == set(self._waits_on.items()), "a wait is in one table only"
        assert all(self._waiting.values()), "a key without readers is waited for"
        assert all(not isinstance(held, deque) or held for held in self._values.values()), (
            "an empty queue stayed"
        )
        for key, readers in self._waiting.items():
            assert key not in self._values or not readers, "somebody waits for what is there"
        watching = [monitor_key for watchers in self._watched.values() for monitor_key in watchers]
        assert len(watching) == self._monitor_count == sum(self._monitor_keys.values()), (
            "monitors are miscounted"
        )

    def _wait(self, reader: Reader, key: bytes, takes: bool) -> None:
        self.counts.waits += 1
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = {reader: takes}
        else:
            waiting[reader] = takes
        self._waits_on[reader] = key
        if self._watched:
            self._report("w", key)

    def _hand_over(self, key: bytes, value: Value) -> bool:
        """Give the value to those who wait. True when a get took it."""
        taken = False
        for reader, takes in list(self._waiting[key].items()):
            if takes and taken:
                continue
            self.cancel(reader)
            self.due.append((reader, value))
            self.counts.answered += 1
            if takes:
                taken = True
                self.counts.gets += 1
                if self._watched:
                    self._report("g", key)
            else:
                self._count_read("v", key)
        return taken

    def _count_read(self, event: str, key: bytes) -> None:
        self.counts.views += 1
        if self._watched:
            self._report(event, key)

    def _report(self, event: str, key: bytes) -> None:
        """Tell the monitors. What happens to monitor keys is not reported, so this never goes round in a circle."""
        if key in self._monitor_keys:
            return
        for place in (key, None):
            watchers = self._watched.get(place)
            if not watchers:
                continue
            for monitor_key, events in watchers.items():
                if event in events:
                    self.put(monitor_key, Value(ASTR, repr((EVENTS[event], key)).encode()))

    def _forget_monitor_key(self, key: bytes) -> None:
        self._monitor_keys[key] -= 1
        if not self._monitor_keys[key]:
            del self._monitor_keys[key]
