"""Answers requests for the page: who may, with what headers, and the stream of changes. aiohttp is imported here alone.

The page itself and its scripts have nothing of the run in them and are given to everybody: they are asked for without a header. All
that is of the run wants one. Nothing that a request says is logged.
"""

import asyncio
import contextlib
import logging
import mimetypes
import socket
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from aiohttp import web
from aiohttp.http import HttpProcessingError

from disbatch.runtime.descriptors import page_connections
from disbatch.web.access import HEADERS, Access, own_origin
from disbatch.web.connections import LIMITS, Connections, Limits
from disbatch.web.control import MOST_BYTES, Order, OrderError, read_order
from disbatch.web.hub import Hub, Viewer
from disbatch.web.onetask import MOST_DIGITS
from disbatch.web.picture.metrics import CONTENT_TYPE, VERSION

VIEWERS = 100  # at a time: each costs a connection and a queue
AT_ONCE = 32  # asyncio accepts so many connections before the first of them is counted
LISTEN_QUEUE = 512  # in the kernel
SHUTDOWN_S = 0.5  # for open answers, at the end
PLOTLY_AGE_S = 86400

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
CHARTS = "/plotly.min.js"
TICK_DIGITS = 15  # of the number that a browser says it has seen last
FORBIDDEN = "403: the token is missing or wrong. Open the address that is in PREFIX_url; for programs, the token is in PREFIX_webtoken.\n"
USED = "403: this address was opened before, or is too old. A fresh one is in PREFIX_url.\n"
NOT_THIS_HOST = (
    "403: the page is not served under this name. Open the address that is in PREFIX_url. "
    "Through an ssh tunnel, the name is localhost.\n"
)


PEERS_ERRORS = (HttpProcessingError, web.RequestPayloadError)


class Behind(NamedTuple):
    """What the driver does for the page."""

    looked: Callable[[], None]
    """Called when somebody comes to look."""

    entered: Callable[[], None]
    """Called when somebody has opened the address."""

    metrics: Callable[[], str]
    known_of: Callable[[int], Awaitable[dict[str, Any]]]
    """All that is known of a task. Raises OSError."""

    ordered: Callable[[Order], str] | None
    """Carries an order out; None where the page may only look."""


class PageServer:
    """Serves one page on a socket that listens already."""

    def __init__(
        self,
        sock: socket.socket,
        access: Access,
        hub: Hub,
        behind: Behind,
        log: logging.Logger,
        limits: Limits = LIMITS,
    ) -> None:
        self._sock = sock
        self._access = access
        self._hub = hub
        self._behind = behind
        self._looking_up = asyncio.Lock()
        self._log = log
        self._listener: asyncio.Server | None = None
        self._static = {path.name: path.read_bytes() for path in _static_files()}
        app = web.Application(middlewares=[self._guard], client_max_size=MOST_BYTES)
        app.on_response_prepare.append(_add_headers)
        app.router.add_get("/", self._index)
        app.router.add_get("/static/{name}", self._file)
        app.router.add_get(CHARTS, self._plotly)
        app.router.add_post("/session", self._session)
        app.router.add_get("/session", self._greeting)
        app.router.add_get("/events", self._events, allow_head=False)
        app.router.add_get("/picture", self._picture)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get(r"/task/{id:[0-9]+}", self._task)
        if behind.ordered is not None:
            app.router.add_post("/control", self._control)
        self._runner = web.AppRunner(
            app, access_log=None, logger=_defects_only(log), handle_signals=False, shutdown_timeout=SHUTDOWN_S,
            keepalive_timeout=limits.idle_s, lingering_time=limits.linger_s,
            auto_decompress=False,
        )  # fmt: skip
        # descriptors are for the run first of all
        most = min(limits.connections, page_connections())
        self.connections = Connections(self._serve_one, limits._replace(connections=most), log)

    async def start(self) -> None:
        await self._runner.setup()
        self._listener = await asyncio.get_running_loop().create_server(
            self.connections.connection, sock=self._sock, backlog=AT_ONCE
        )
        self._sock.listen(LISTEN_QUEUE)

    async def close(self) -> None:
        """Lets what is queued for viewers go out, for a moment, and hangs up."""
        if self._listener:
            self._listener.close()
        self._hub.close()
        with contextlib.suppress(asyncio.CancelledError):
            await self._runner.cleanup()

    def _serve_one(self) -> asyncio.Protocol:
        server = self._runner.server
        assert server is not None, "it was set up before the listener"
        return server()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        access = self._access
        if not access.by_host(request.headers.getall("Host", []), _own_address(request)):
            return _refused(NOT_THIS_HOST)
        known = access.by_header(request.headers.get("Authorization"))
        if not known and request.path == CHARTS:
            known = access.by_charts_key(request.query.get("key"))
        if known:
            self.connections.proven(request.transport)
        elif not _is_public(request):
            return _refused(FORBIDDEN)
        try:
            return await handler(request)
        except web.HTTPException as error:  # no such path, or too long a body
            return web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._static["index.html"], content_type="text/html", charset="utf-8")

    async def _session(self, request: web.Request) -> web.StreamResponse:
        """A session for a ticket, which is the body."""
        try:
            body = await asyncio.wait_for(request.read(), self.connections.limits.body_s)
        except (TimeoutError, web.RequestPayloadError):
            return _closing(400, "400: the ticket did not come\n")
        made = self._access.session(body.decode("utf-8", "replace").strip(), time.monotonic())
        if made is None:
            return _refused(USED)
        self.connections.proven(request.transport)
        self._behind.entered()
        return web.json_response(self._welcome() | {"session": made})

    async def _greeting(self, request: web.Request) -> web.StreamResponse:
        """Says that a session is known."""
        return web.json_response(self._welcome())

    def _welcome(self) -> dict[str, str]:
        return {"charts": f"{CHARTS}?key={self._access.charts_key}"}

    async def _file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self._static:
            raise web.HTTPNotFound
        kind = "text/javascript" if name.endswith(".js") else mimetypes.guess_type(name)[0]
        return web.Response(body=self._static[name], content_type=kind or "text/plain", charset="utf-8")

    async def _plotly(self, request: web.Request) -> web.StreamResponse:
        cached = {"Cache-Control": f"private, max-age={PLOTLY_AGE_S}"}
        return web.FileResponse(plotly_path(), headers=cached | {"Content-Type": "text/javascript"})

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        """The whole picture, once: for programs."""
        self._behind.looked()
        text = self._hub.whole().split(b"\ndata: ", 1)[1].strip()
        return web.Response(body=text, content_type="application/json", charset="utf-8")

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": f"{CONTENT_TYPE}; version={VERSION}; charset=utf-8"}
        return web.Response(body=self._behind.metrics().encode("utf-8", "replace"), headers=headers)

    async def _task(self, request: web.Request) -> web.StreamResponse:
        digits = request.match_info["id"]
        if len(digits) > MOST_DIGITS:
            raise web.HTTPNotFound
        async with self._looking_up:  # one at a time: the file may be long
            try:
                found = await self._behind.known_of(int(digits))
            except OSError as error:
                return web.Response(status=503, text=f"503: cannot read the status file: {error.strerror}\n")
        return web.json_response(found)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if len(self._hub.viewers) >= VIEWERS:
            return web.Response(status=503, text=f"503: {VIEWERS} viewers are looking already\n")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        self._behind.looked()
        self.connections.streams(request.transport)
        seen = request.headers.get("Last-Event-ID", "")
        is_number = seen.isascii() and seen.isdigit() and len(seen) <= TICK_DIGITS
        viewer, first = self._hub.join(int(seen) if is_number else None)
        with contextlib.suppress(ConnectionError):  # it has gone
            try:
                await response.write(b"retry: 2000\n\n" + b"".join(first))
                while event := await viewer.next() or self._all_anew(viewer):
                    await response.write(event)
            finally:
                self._hub.leave(viewer)
        return response

    def _all_anew(self, viewer: Viewer) -> bytes:
        """Everything, for one that has lost track; nothing, for one whose stream ends."""
        if not viewer.lost_track:
            return b""
        viewer.lost_track = False
        return self._hub.whole()

    async def _control(self, request: web.Request) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        by_program = self._access.by_header(request.headers.get("Authorization")) and origin is None
        if not by_program and not own_origin(origin, request.headers.get("Host")):
            return _refused("403: orders are taken from the page itself only\n")
        ordered = self._behind.ordered
        assert ordered is not None
        try:
            body = await asyncio.wait_for(request.read(), self.connections.limits.body_s)
            order = read_order(body)
            told = ordered(order)
        except TimeoutError:
            return _closing(408, "408: the order did not come\n")
        except web.RequestPayloadError:
            return _closing(400, "400: the order cannot be read\n")
        except OrderError as error:
            return web.json_response({"error": str(error)}, status=400)
        self._log.info("asked for on the web page: %s %s", order.what, order.name)
        return web.json_response({"told": told})


def _is_public(request: web.Request) -> bool:
    """Return True for what has nothing of the run in it, and for the way in."""
    if request.method == "POST":
        return request.path == "/session"
    return request.path == "/" or request.path.startswith("/static/")


def _defects_only(log: logging.Logger) -> logging.Logger:
    """A logger for aiohttp that passes on to `log` what is wrong here, not what is wrong with a request: whoever reaches
    the port could fill a disk with that."""
    passed = logging.Logger(f"{log.name}.web", log.level)
    passed.parent = log
    passed.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], PEERS_ERRORS)))
    return passed


def _own_address(request: web.Request) -> tuple[str, int]:
    """Where this connection has arrived: an address of this machine."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    return (str(name[0]), int(name[1])) if name else ("", 0)


def _refused(text: str) -> web.Response:
    return _closing(403, text)


def _closing(status: int, text: str) -> web.Response:
    """An answer after which the connection ends: what else comes is not waited for."""
    response = web.Response(status=status, text=text)
    response.force_close()
    return response


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        if name == "Server" or name not in response.headers:
            response.headers[name] = value


def _static_files() -> list[Path]:
    folder = Path(str(files("disbatch.web") / "static"))
    return [path for path in folder.iterdir() if path.suffix in (".html", ".css", ".js", ".svg")]


def plotly_path() -> Path:
    """plotly.js as the installed Python package has it. Found without importing the package, which takes a while."""
    from importlib.util import find_spec

    spec = find_spec("plotly")
    assert spec is not None and spec.origin is not None, "the start has looked for it"
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"
