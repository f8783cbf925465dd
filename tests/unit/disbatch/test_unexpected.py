"""Errors that nobody handles: words, one line in a log, and who is told."""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from disbatch.core.driver_events import Broken, Ending
from disbatch.core.errors import MachineError
from disbatch.runtime import breakdown
from disbatch.runtime.breakdown import Breakdown
from disbatch.runtime.logs import open_log
from disbatch.runtime.unexpected import in_one_line, in_words, watch


@pytest.fixture(autouse=True)
def hooks() -> Iterator[None]:
    before = sys.unraisablehook, threading.excepthook
    yield
    sys.unraisablehook, threading.excepthook = before


def failing(module: str, error: str = "OSError(28, 'No space left on device')") -> Callable[[], None]:
    """A function of that module which raises."""
    names: dict[str, object] = {"__name__": module}
    exec(f"def act():\n    raise {error}", names)
    act = names["act"]
    assert callable(act)
    return act


def caught(act: Callable[[], None]) -> BaseException:
    with pytest.raises(Exception) as info:
        act()
    return info.value


def test_words_say_what_and_where() -> None:
    error = caught(failing("disbatch.runtime.processes"))
    assert in_words(error).endswith(
        ": No space left on device (in act of disbatch.runtime.processes, line 2)"
    )
    assert in_words(MachineError("two\nlines")) == "two\nlines"
    assert in_words(caught(failing("kvsstcp.link", "KeyError(20)"))).startswith(
        "KeyError: 20 (in act of kvsstcp.link"
    )


def test_an_error_is_one_line_in_a_log(tmp_path: Path) -> None:
    log = open_log(str(tmp_path / "log"), "INFO", "one-line")
    try:
        failing("disbatch.core.x", "KeyError(20)")()
    except KeyError:
        log.exception("not done: %s", "this")
    lines = (tmp_path / "log").read_text().splitlines()
    for handler in log.handlers:
        handler.close()
    assert len(lines) == 1
    assert "not done: this: KeyError: 20 (" in lines[0] and "Traceback" not in lines[0]


def test_the_line_names_what_an_error_came_from() -> None:
    try:
        try:
            raise OSError(5, "Input/output error")
        except OSError as error:
            raise MachineError("no") from error
    except MachineError as error:
        assert "it came from OSError: [Errno 5]" in in_one_line(error)


def heard(act: Callable[[], None], *, thread: bool = False) -> list[str]:
    """What is told of an error in a callback, or in a thread."""
    told: list[str] = []

    async def turn() -> None:
        loop = asyncio.get_running_loop()
        watch(loop, logging.getLogger("nobody"), told.append)
        if thread:
            worker = threading.Thread(target=act)
            worker.start()
            await asyncio.to_thread(worker.join)
        else:
            loop.call_soon(act)
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(turn())
    return told


@pytest.mark.parametrize("thread", (False, True))
def test_what_a_run_cannot_do_without_is_told(thread: bool) -> None:
    assert len(heard(failing("kvsstcp.channel"), thread=thread)) == 1
    assert len(heard(failing("disbatch.runtime.statusfile"), thread=thread)) == 1
    assert len(heard(failing("asyncio.selector_events"), thread=thread)) == (0 if thread else 1)
    assert heard(failing("disbatch.runtime.mail"), thread=thread) == []
    assert heard(failing("aiohttp.web"), thread=thread) == []


def test_an_error_of_one_connection_is_not_the_end_of_all() -> None:
    async def turn() -> list[str]:
        told: list[str] = []
        loop = asyncio.get_running_loop()
        watch(loop, logging.getLogger("nobody"), told.append)
        error = caught(failing("kvsstcp.channel"))
        loop.call_exception_handler({"message": "", "exception": error, "protocol": None})
        return told

    assert asyncio.run(turn()) == []


def broken_run(happened: Callable[[Broken], None]) -> asyncio.Future[Ending]:
    async def run() -> asyncio.Future[Ending]:
        over: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        made = Breakdown(logging.getLogger("nobody"), happened, over)
        made.failed("the first")
        made.failed("the second")
        await asyncio.wait([over])
        return over

    return asyncio.run(run())


def test_a_broken_run_ends_in_order_then_harder_then_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakdown, "HARDER_S", 0.01)
    told: list[Broken] = []
    over = broken_run(told.append)
    assert told == [Broken("the first")] * 2
    assert "the first; the run could not be ended in order: its engines do not answer" in str(
        over.exception()
    )


def test_a_run_whose_core_fails_too_ends_at_once() -> None:
    def happened(event: Broken) -> None:
        raise KeyError(20)

    assert "KeyError: 20" in str(broken_run(happened).exception())
