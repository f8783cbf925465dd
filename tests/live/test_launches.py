"""Launchers start a few dozen at a time; the next ones as soon as an engine has come up or a launcher has ended."""

import asyncio
import contextlib
import os
import resource
import threading
import time
from collections.abc import Iterator

import pytest
from disbatch_runs import children

from disbatch.runtime.launches import AT_ONCE, Launched, Launches, LaunchOrder

MORE = 8


def test_a_few_dozen_start_at_a_time() -> None:
    """Each launcher is a `cat`, which runs until its standard input is closed, as that of an engine."""

    async def scene() -> None:
        ended: list[int] = []
        before = set(children(os.getpid()))
        launches = Launches(lambda rank, why: ended.append(rank), print)
        for rank in range(AT_ONCE + MORE):
            launches.order(LaunchOrder(rank, f"n{rank}", 1, "X", ("/bin/cat",), {}, ""))
        started = set(children(os.getpid())) - before
        assert len(started) == AT_ONCE and 24 <= AT_ONCE <= 48
        for rank in range(MORE):
            launches.signed_in(rank)
            launches.signed_in(rank)  # once more changes nothing
        assert len(set(children(os.getpid())) - before) == AT_ONCE + MORE
        await launches.finish()
        assert sorted(ended) == list(range(AT_ONCE + MORE))

    asyncio.run(scene())


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """As long as this lasts, this process can open nothing."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_descriptors_a_launcher_starts_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("disbatch.runtime.launches.AGAIN_S", 0.02)

    async def scene() -> None:
        ended: list[int] = []
        told: list[str] = []
        before = set(children(os.getpid()))
        launches = Launches(lambda rank, why: ended.append(rank), told.append)
        # opened before: without descriptors no file can be
        with open(f"/proc/self/task/{threading.get_native_id()}/children") as started, no_descriptors():
            for rank in range(3):
                launches.order(LaunchOrder(rank, f"n{rank}", 1, "X", ("/bin/cat",), {}, ""))
            while len(told) < 1:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)  # some more attempts
            assert set(map(int, started.read().split())) <= before
        end = time.monotonic() + 10
        while len(set(children(os.getpid())) - before) < 3:
            assert time.monotonic() < end
            await asyncio.sleep(0.01)
        assert len(told) == 1 and "Too many open files" in told[0] and ended == []
        await launches.finish()
        assert sorted(ended) == [0, 1, 2]

    asyncio.run(scene())


def test_without_descriptors_for_long_a_launcher_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("disbatch.runtime.launches.AGAIN_S", 0.01)
    monkeypatch.setattr("disbatch.runtime.launches.GIVE_UP_S", 0.05)

    async def scene() -> list[str]:
        failed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        launches = Launches(lambda rank, why: failed.set_result(why), print)
        with no_descriptors():
            launches.order(LaunchOrder(0, "n", 1, "X", ("/bin/cat",), {}, ""))
            return [await asyncio.wait_for(failed, 10)]

    assert asyncio.run(scene()) == ["cannot start /bin/cat: Too many open files"]


def test_an_engine_that_was_forked_without_descriptors_is_watched_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("disbatch.runtime.launches.AGAIN_S", 0.02)

    async def scene() -> str:
        gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        launches = Launches(lambda rank, why: gone.set_result(why), print)
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
        with no_descriptors():
            launches.adopt(Launched(0, "n", 1, "X", pid))
            await asyncio.sleep(0.05)
        return await asyncio.wait_for(gone, 10)

    assert asyncio.run(scene()) == "exit code 7"


def test_what_a_launcher_says_is_read_beyond_1024_descriptors() -> None:
    """select(2) takes none above 1023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1_200:
        pytest.skip("this machine allows no more than 1,200 descriptors")

    async def scene() -> str:
        gone: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        launches = Launches(lambda rank, why: gone.set_result(why), print)
        launches.order(LaunchOrder(0, "n", 1, "X", ("/bin/sh", "-c", "echo no such host; exit 7"), {}, ""))
        return await asyncio.wait_for(gone, 10)

    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1_200), hard))
    taken = [os.dup(0) for _ in range(1_050)]
    try:
        assert asyncio.run(scene()) == "no such host (exit code 7)"
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
