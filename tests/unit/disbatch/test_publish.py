"""When snapshots are published: counts each second, rows while somebody looks, and no more often than they may cost."""

import asyncio
import heapq
from collections.abc import Callable
from itertools import count

import pytest
from monitor_builders import snapshot

from disbatch.core.history import History
from disbatch.core.snapshot import LIVE_KEY, STATUS_KEY, VIEWER_KEY, RunSnapshot, read_snapshot
from disbatch.runtime import publish
from disbatch.runtime.publish import BYTES_PER_S, FIRST_LOOK_S, WATCHED_S, Publisher
from kvsstcp.values import Value

MARK = Value(b"ASTR", b"look")


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Run:
    """Loop, KVS and camera in one, on a clock that only `until` moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, engines: int = 0) -> None:
        self.now = 100.0
        self.history = History()
        self.shown: list[float] = []  # times of snapshots with rows
        self.status: list[tuple[float, bool]] = []  # times of all, and whether they have rows
        self.looked = 0
        self._heap: list[tuple[float, int, Timer, Callable[[], None]]] = []
        self._tie = count()
        self._engines = snapshot().engines * engines
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self)
        monkeypatch.setattr(publish.time, "thread_time", lambda: 0.0)
        self.publisher = Publisher(self, self, self._look)  # type: ignore[arg-type]
        self.publisher.start()

    def _look(self) -> None:
        self.looked += 1

    # -- the loop

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, action: Callable[[], None]) -> Timer:
        timer = Timer()
        heapq.heappush(self._heap, (when, next(self._tie), timer, action))
        return timer

    def call_later(self, seconds: float, action: Callable[[], None]) -> Timer:
        return self.call_at(self.now + seconds, action)

    def until(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            when, _, timer, action = heapq.heappop(self._heap)
            self.now = max(self.now, when)
            if not timer.cancelled:
                action()
        self.now = now

    # -- the KVS

    def subscribe(self, key: bytes, callback: Callable[[Value], None]) -> None:
        assert key == VIEWER_KEY
        self.ask = lambda: callback(MARK)

    def publish(self, key: bytes, value: Value) -> None:
        assert key == STATUS_KEY
        self.status.append((self.now, read_snapshot(value.data).detail))

    def show(self, key: bytes, value: Value) -> None:
        assert key == LIVE_KEY and read_snapshot(value.data).detail
        self.shown.append(self.now)

    # -- the camera

    def snapshot(self) -> RunSnapshot:
        return snapshot(detail=False, engines=(), tasks=(), elapsed_s=self.now - 100.0)

    def picture(self) -> RunSnapshot:
        return snapshot(engines=self._engines)


def test_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.until(105.5)
    assert run.status == [(100.0 + n, False) for n in range(6)]
    assert run.shown == [] and run.looked == 0 and len(run.history.samples()) == 6


def test_the_first_look_is_answered_soon_and_others_with_the_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.until(100.3)
    run.ask()
    run.until(102.9)
    assert run.shown == [100.3 + FIRST_LOOK_S, 101.0, 102.0] and run.looked == 1


def test_it_ends_when_nobody_has_asked_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.until(100.3)
    run.ask()
    run.until(100.3 + WATCHED_S + 5)
    assert len(run.shown) == WATCHED_S + 1
    assert [with_rows for _, with_rows in run.status[-5:]] == [False] * 5
    run.ask()
    run.until(120.0)
    assert run.shown[-6:-4] == [100.3 + WATCHED_S + 5, 116.0]  # again at once


def test_many_who_ask_get_the_same_one(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    for tenth in range(50):
        run.until(100.0 + tenth / 10)
        run.ask()
    assert len(run.shown) <= 6


def test_large_ones_come_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch, engines=5000)
    size = len(run.picture().to_json())
    for second in range(60):
        run.until(100.0 + second)
        run.ask()
    gaps = [b - a for a, b in zip(run.shown, run.shown[1:], strict=False)]
    assert size / BYTES_PER_S > 2 and min(gaps) >= size / BYTES_PER_S - 1


def test_costly_ones_come_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    clock = count(step=0.05)  # a twentieth of a second for each
    monkeypatch.setattr(publish.time, "thread_time", lambda: next(clock))
    for second in range(60):
        run.until(100.0 + second)
        run.ask()
    gaps = [b - a for a, b in zip(run.shown, run.shown[1:], strict=False)]
    assert gaps and min(gaps) >= 4.0


def test_the_last_figures_are_for_those_who_look(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(monkeypatch)
    run.publisher.finish()
    assert run.shown == []
    run = Run(monkeypatch)
    run.ask()
    run.until(103.2)
    run.publisher.finish()
    assert run.shown[-1] == 103.2
    seen = len(run.shown)
    run.until(110.0)
    assert len(run.shown) == seen and run.status[-1][0] == 103.2
