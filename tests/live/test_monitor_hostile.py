"""The monitor is fed names and texts that look like its own markup, move cursors, reorder text, or do not end."""

import pytest
from monitor_beds import LARGE, SMALL, Bed, on_screen
from monitor_builders import context, engine, failure, running, snapshot

from disbatch.core.printable import is_plain
from disbatch.monitor import head
from disbatch.monitor.looking import Seen, Trouble

HOSTILE = [
    "[/]",
    "[bold][@click=app.quit]x[/]",
    "a]b[c",
    "\\[/]\\",
    "\u202eexe.\u2066",
    "\x1b[2J\x9b1m",
    "a\u2028b\x85c\nd\r\te",
    "w" * 10_000,
    "\udcff\udc80",
    "word " * 2000,
    "$x {y} %s %(z)s",
]


def fed(text: str) -> Seen:
    s = snapshot(
        engines=(engine(0, text, context=text),),
        contexts=(context(text),),
        tasks=(running(1, command=text)._replace(node=text),),
        failures=(failure(2, error=text)._replace(command=text, node=text),),
        barrier=text,
    )
    return Seen(s)


def shown(bed: Bed) -> None:
    assert [line for line in bed.text().splitlines() if not is_plain(line)] == []


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=str)
@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_every_view_of_hostile_texts(text: str, size: tuple[int, int]) -> None:
    async def scenario(bed: Bed) -> None:
        bed.news.put_nowait(fed(text))
        await bed.until("18 ok")
        for key in "1234":
            await bed.pilot.press(key)
            await bed.pilot.press("enter")
            await bed.until("esc: close")
            shown(bed)
            await bed.pilot.press("escape")
        for key in "14":
            await bed.pilot.press(key, "x")
            await bed.until("Cancel (n)")
            shown(bed)
            await bed.pilot.press("y")
        await bed.pilot.press("slash", *"[/]", "enter")
        bed.news.put_nowait(Trouble(text, 1.0))
        await bed.until("no contact since")
        shown(bed)

    on_screen(scenario, size, refuses=f"no: {text}", title=text)


def test_a_long_node_name_ends_in_an_ellipsis() -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen(engines=(engine(0, "node-with-a-name-that-is-long.example.org"), engine(1)))
        await bed.until("node-with-a-n…", "node01")

    on_screen(scenario)


def test_a_run_that_has_gone_looks_dead_and_says_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(bed: Bed) -> None:
        bed.seen()
        await bed.until("18 ok", "running", without="PREFIX_driver.txt")
        colours = bed.styles("18 ok")
        monkeypatch.setattr(head, "LOST_S", 0.1)
        await bed.until("no contact since", "18 ok", without="PREFIX_driver.txt")
        assert bed.styles("18 ok") != colours and bed.app.main.has_class("-old")
        monkeypatch.setattr(head, "HINT_S", 0.2)
        await bed.until("the end of PREFIX_driver.txt says more", "8/8 slots busy")
        monkeypatch.undo()
        bed.seen()
        await bed.until("tasks/s", without="no contact since")
        assert bed.styles("18 ok") == colours and not bed.app.main.has_class("-old")

    on_screen(scenario, LARGE)
