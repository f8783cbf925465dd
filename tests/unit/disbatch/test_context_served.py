"""How a context's time with its driver ends, at moments that a real run meets once in some ten times under load."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from disbatch.runtime.context import Context


class Quick(Context):
    """Its driver is gone at once, and the next one as well, which lets the engines leave with these exit codes first."""

    def __init__(self, *codes: int, engines_leave: bool = True) -> None:
        self._facts: Any = SimpleNamespace(reattach=True)
        self._launches: Any = SimpleNamespace(codes=dict(enumerate(codes)))
        self._engines_leave = engines_leave

    async def ends_abandoned(self) -> bool:
        self.left = asyncio.Event()
        return await self._served(asyncio.create_task(self.left.wait()))

    async def _listen(self) -> None:
        pass

    async def _come_back(self) -> bool:
        if self._engines_leave:
            self.left.set()
        return False


@pytest.mark.parametrize(("codes", "abandoned"), [((0, 0), False), ((0, 3), True)])
def test_engines_that_left_as_the_next_driver_ended_say_how_it_ended(
    codes: tuple[int, ...], abandoned: bool
) -> None:
    assert asyncio.run(Quick(*codes).ends_abandoned()) is abandoned


def test_engines_that_are_still_there_when_the_run_is_over_are_abandoned() -> None:
    assert asyncio.run(Quick(0, engines_leave=False).ends_abandoned()) is True
