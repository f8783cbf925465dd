"""Launchers start a few dozen at a time; the next ones as soon as an engine has come up or a launcher has ended."""

import asyncio
import os

from disbatch_runs import children

from disbatch.runtime.launches import AT_ONCE, Launches, LaunchOrder

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
