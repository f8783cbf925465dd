"""The web page of a run, as the driver knows it: an observer that keeps the picture, and the server that shows it.

The socket is there before the run, so that an address that cannot be had is said before anything runs. The picture is
computed once a second, for all viewers together, and only while there are any.
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from disbatch import __version__
from disbatch.core.driver_events import Level, Say
from disbatch.core.errors import UsageError
from disbatch.core.notable import Batch, Notable, RunEnd
from disbatch.core.printable import BREAK, printable, printable_message
from disbatch.packages import install_command, missing
from disbatch.runtime.files import replace_file, replace_secret
from disbatch.runtime.observers import Watched
from disbatch.runtime.prepare import listen
from disbatch.runtime.settings import WebSettings
from disbatch.web.access import TICKET_S, Access
from disbatch.web.control import Order, carry_out
from disbatch.web.hub import Hub
from disbatch.web.onetask import known_of, read_rows
from disbatch.web.picture.metrics import metrics
from disbatch.web.picture.picture import PageFacts, Picture
from disbatch.web.savedpage import saved_page

if TYPE_CHECKING:
    from disbatch.web.server import Behind, PageServer

TICK_S = 1.0  # how often the picture changes: often enough to look alive, seldom enough to cost nothing
SHARE = 0.03  # of the driver's time, at most, goes into pictures
FRESH_S = (
    TICKET_S / 3
)  # after which an address that nobody opened is replaced: what is read there lasts for a while
SLOWEST_S = 4.0  # the page calls a longer silence late
LAST_WORDS_S = 1.0  # for the end of the picture to reach the viewers
OPTION = "--web-address"
PACKAGES = ("aiohttp", "plotly")
NOT_ENCRYPTED = (
    "the web page is not on the loopback interface: its traffic, the token included, is not encrypted, and whoever can "
    "listen on the way can do with the page what you can"
)


def need_packages() -> None:
    """Raises UsageError unless what the page is made with is installed."""
    lacking = missing(PACKAGES)
    if lacking:
        what = f"-w needs Python packages that are not installed: {', '.join(lacking)}"
        raise UsageError(f"{what}; {install_command(lacking)}")


class WebPage:
    """Observes one run. Made before the run begins: raises UsageError when its address cannot be had."""

    def __init__(self, settings: WebSettings, task_name: str, say: Callable[[str, Level], None]) -> None:
        need_packages()
        self._settings = settings
        self._task_name = task_name
        self._sock = listen(settings.address, OPTION)
        self._say = say
        host, self._port = self._sock.getsockname()[:2]
        self._loopback_only = ip_address(host).is_loopback
        if not self._loopback_only:
            say(NOT_ENCRYPTED, "warning")
        self._written: set[str] = set()  # files to remove at the end
        self._warned = False
        self._url_written_s = 0.0
        self._writing: asyncio.Task[str] | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._server: PageServer | None = None

    def descriptors(self) -> tuple[int, ...]:
        """What a forked engine has to close."""
        return (self._sock.fileno(),)

    def fresh_url(self) -> str:
        """The page's address, with a new ticket."""
        ticket = self._access.ticket(time.monotonic())
        return f"http://{_shown_host(self._settings.address[0])}:{self._port}/#token={ticket}"

    # -- as an observer of the run

    def begin(self, run: Watched) -> None:
        self._run = run
        self._folder = os.getcwd()
        self._access = Access((self._settings.address[0], socket.gethostname()))
        control = self._settings.control
        facts = PageFacts(
            printable(self._task_name), printable(run.files.job_id), socket.gethostname(), printable(os.path.abspath(run.files.status)), time.time(),
            __version__, control, printable(os.path.abspath(run.files.log)),
        )  # fmt: skip
        self._picture = Picture(facts)
        self._hub = Hub(lambda: _json(self._picture.whole()))
        self._ticked_s, self._pause_s = -TICK_S, TICK_S
        self._url_file, self._token_file = run.files.url, run.files.webtoken
        for path, secret in ((self._token_file, self._access.token), (self._url_file, self.fresh_url())):
            self._say_fault(self._write_secret(path, secret))
        self._url_written_s = time.monotonic()
        # elsewhere than on a terminal it would stay in a file that others may read
        shown = f"its address is in {self._url_file}"
        if sys.stderr.isatty():
            shown = f"{self.fresh_url()}{BREAK}it opens once; a fresh address is always in {self._url_file}"
        self._say(f"web page: {shown}", "note")
        self._ticking = asyncio.get_running_loop().create_task(self._serve())
        self._ticking.add_done_callback(self._stopped)

    def written(self, batch: Batch) -> None:
        self._picture.note(batch.rows)

    def happened(self, event: Notable) -> None:
        if isinstance(event, Say):
            self._picture.say(time.time(), event.level, printable_message(event.text))

    async def finish(self, end: RunEnd) -> None:
        """The last picture goes out, and the page keeps it; then the server is gone, and the file with its address."""
        try:
            if self._ticking:
                self._ticking.cancel()
                await asyncio.wait([self._ticking])
            path = self._run.files.page
            self._picture.end(end.ending, end.text, end.exit_code, printable(os.path.abspath(path)))
            self._ticked_s = time.monotonic()
            change = self._picture.tick(self._run.picture(), self._run.failures())
            if not await self._save(path):
                self._picture.not_saved()
            self._hub.publish(self._picture.number, _json(change))
            if self._server:
                await asyncio.wait_for(self._server.close(), LAST_WORDS_S)
        except TimeoutError:
            pass  # a viewer that does not read keeps nobody
        finally:
            if self._writing:
                await asyncio.wait([self._writing], timeout=LAST_WORDS_S)
            self.close()

    async def _save(self, path: str) -> bool:
        """Keep the last picture as a page. A disk that hangs is not waited for."""
        text = saved_page(Path(__file__).parent / "static", _json(self._picture.whole()))
        writing = asyncio.create_task(asyncio.to_thread(replace_file, path, text))
        await asyncio.wait([writing], timeout=LAST_WORDS_S)
        error = writing.exception() if writing.done() else TimeoutError("the disk does not answer")
        if error:
            self._run.warn(
                f"cannot write {path}: {getattr(error, 'strerror', None) or error}; disbatch-report --html shows the run, too"
            )
        return error is None

    def close(self) -> None:
        """Leaves nothing behind, however the run ended."""
        self._sock.close()
        while self._written:
            with contextlib.suppress(OSError):
                os.unlink(self._written.pop())

    # -- the page

    async def _serve(self) -> None:
        if not self._loopback_only:
            # a name service that does not answer keeps nobody: neither the page nor the end of the run
            threading.Thread(target=self._learn_full_name, daemon=True).start()
        page_server, behind = await asyncio.to_thread(_import_server)
        ordered = self._order if self._settings.control else None
        driver = behind(self._looked, self._renew, self._metrics, self._known_of, ordered)
        self._server = page_server(self._sock, self._access, self._hub, driver, self._run.log)
        await self._server.start()
        while True:
            await asyncio.sleep(self._pause_s)
            if self._hub.viewers:
                self._tick()
            if time.monotonic() - self._url_written_s > FRESH_S:
                self._renew()

    def _renew(self) -> None:
        """Put an address that nobody has opened in the place of the one before. Outside the loop: a disk may hang."""
        if self._writing is None or self._writing.done():
            self._url_written_s = time.monotonic()
            work = asyncio.to_thread(self._write_secret, self._url_file, self.fresh_url())
            self._writing = asyncio.get_running_loop().create_task(work)
            self._writing.add_done_callback(lambda task: self._say_fault(task.result()))

    def _write_secret(self, path: str, text: str) -> str:
        """Return what is wrong, or nothing."""
        try:
            replace_secret(path, text + "\n")
        except OSError as error:
            return f"cannot write {path}: {error.strerror}; the way to the web page would be in it"
        self._written.add(path)
        return ""

    def _say_fault(self, fault: str) -> None:
        if fault and not self._warned:
            self._warned = True
            self._run.warn(fault)

    def _learn_full_name(self) -> None:
        self._access.names.add(socket.getfqdn().lower())

    def _stopped(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            self._run.log.error("the web page", exc_info=task.exception())
            self._run.warn(
                "the web page has stopped by a defect of its own; the run goes on, and the log says more"
            )

    def _looked(self) -> None:
        """Somebody comes: the picture is brought up to date, unless it is so already."""
        if time.monotonic() - self._ticked_s >= self._pause_s:
            self._tick()

    def _tick(self) -> None:
        self._ticked_s = time.monotonic()
        change = self._picture.tick(self._run.picture(), self._run.failures())
        self._hub.publish(self._picture.number, _json(change))
        self._pause_s = pause_s(time.monotonic() - self._ticked_s)

    def _metrics(self) -> str:
        return metrics(self._run.picture(), self._picture.facts.job_id, self._picture.facts.name)

    async def _known_of(self, task_id: int) -> dict[str, Any]:
        rows = await asyncio.to_thread(read_rows, self._run.files.status, task_id)
        return known_of(task_id, rows, self._run.picture(), self._folder)

    def _order(self, order: Order) -> str:
        return carry_out(order, self._run.steering)


def pause_s(cost_s: float) -> float:
    """Until the next picture, after one that took so long: thousands of engines are shown less often."""
    return min(max(TICK_S, cost_s / SHARE), SLOWEST_S)


def _import_server() -> "tuple[type[PageServer], type[Behind]]":
    # a third of a second, and the first tasks need not wait for it
    from disbatch.web.server import Behind, PageServer

    return PageServer, Behind


def _shown_host(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
