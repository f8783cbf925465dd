"""The monitor on a screen of textual's pilot, for tests: it is fed news, and its screen is read."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from textual.geometry import Offset
from textual.pilot import Pilot

from disbatch.core.errors import MachineError
from disbatch.monitor.looking import News, Seen
from disbatch.monitor.panes import Pane
from disbatch.monitor.stopping import Stop
from disbatch.monitor.terminal import Monitor

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "disbatch"))
from monitor_builders import snapshot

DEADLINE_S = 10.0
SMALL, LARGE = (80, 24), (200, 60)


class Bed:
    """A monitor under test: feeds it news, reads its screen."""

    def __init__(self, refuses: str = "", title: str = "Tasks_1") -> None:
        self.news: asyncio.Queue[News | None] = asyncio.Queue()
        self.stopped: list[Stop] = []
        self._refuses = refuses
        self.app = Monitor(title, self._brings, self, "the end of PREFIX_driver.txt says more")
        self.pilot: Pilot[str]

    async def _brings(self) -> AsyncIterator[News]:
        while (news := await self.news.get()) is not None:
            yield news

    async def stop(self, stop: Stop) -> str:
        if self._refuses:
            raise MachineError(self._refuses)
        self.stopped.append(stop)
        return "it stops"

    def seen(self, **more: object) -> None:
        self.news.put_nowait(Seen(snapshot(**more)))

    def text(self) -> str:
        return "\n".join(strip.text for strip in self.app.screen._compositor.render_strips())

    def styles(self, part: str) -> list[str]:
        """How the pieces of the line that has this text look."""
        strip = self.app.screen._compositor.render_strips()[self.line(part)]
        return [str(segment.style) for segment in strip if segment.text.strip()]

    def line(self, part: str) -> int:
        """The number of the line that has this text."""
        return next(n for n, line in enumerate(self.text().splitlines()) if part in line)

    async def until(self, *parts: str, without: str = "\0") -> None:
        """Returns once all these parts, and not the other, stand on the screen."""
        for _ in range(int(DEADLINE_S / 0.02)):
            await self.pilot.pause(0.02)
            text = self.text()
            if all(part in text for part in parts) and without not in text:
                return
        raise AssertionError(f"not on the screen: {parts} without {without!r}\n{self.text()}")

    async def click(self, part: str, times: int = 1) -> None:
        """Clicks on the first place where this text stands."""
        y = self.line(part)
        x = self.text().splitlines()[y].index(part)
        await self.pilot.click(offset=Offset(x + 1, y), times=times)

    def pane(self, name: str) -> Pane:
        return self.app.query_one(f"#{name}", Pane)


def on_screen(
    scenario: Callable[[Bed], Awaitable[None]],
    size: tuple[int, int] = SMALL,
    refuses: str = "",
    title: str = "Tasks_1",
) -> str | None:
    """Plays a scenario; returns what the monitor ends with."""

    async def play() -> str | None:
        bed = Bed(refuses, title)
        async with bed.app.run_test(size=size, notifications=True) as pilot:
            bed.pilot = pilot
            await scenario(bed)
        return bed.app.return_value

    return asyncio.run(play())
