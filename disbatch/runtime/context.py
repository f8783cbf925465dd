"""A context as a process of its own: it joins a run, starts its engines, and gives nodes back.

The engines speak with the driver themselves; this process stands for theirs, as the driver does for its own.
"""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable

from disbatch.contexts.retirement import driver_node
from disbatch.core import notices
from disbatch.core.driver_events import Level
from disbatch.core.errors import DisBatchError, MachineError, PeerError, UsageError
from disbatch.core.joining import (
    Join,
    Order,
    ProcessGone,
    Refusal,
    Rejoin,
    SignedIn,
    SweepOrder,
    SweptThere,
    Welcome,
    decode_joining,
    encode_joining,
)
from disbatch.core.membership import CONTEXT_KEY
from disbatch.core.model import NodeSpec
from disbatch.runtime.bus import JSON, join_key
from disbatch.runtime.contextsettings import ContextSettings
from disbatch.runtime.control import ANSWER_S, RunOverError, connect, find_run, read_facts
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.hosting import launch_orders, node_name
from disbatch.runtime.jobend import JobEnd
from disbatch.runtime.launches import Launches
from disbatch.runtime.remains import Remains
from disbatch.runtime.retire import Retirement
from disbatch.runtime.settings import RETIRE_END_S
from disbatch.runtime.shortage import tell_shortages
from disbatch.runtime.signals import on_end_signals
from disbatch.runtime.startcheck import check_context
from kvsstcp.aclient import AsyncClient
from kvsstcp.errors import KvsError
from kvsstcp.values import Value

NOT_LAUNCHED = 127  # exit code of an engine whose launcher could not be started, as shells have it
RECONNECT_S = 3.0  # for one try to reach a driver that may have taken the place of the one before
RETRY_S = 0.5
OVER_S = 2.0  # for a driver that has closed its connections to end
LOOK_S = 0.05
LOST_EXIT = 3  # of this process, when the driver is gone or no engine could be started

Sayer = Callable[[str, Level], None]


def run_context(prefix: str, settings: ContextSettings, say: Sayer) -> int:
    """Joins the run and stays until its engines are gone; returns the exit code. Raises DisBatchError."""
    check_context(settings)
    return asyncio.run(_run(prefix, settings, say))


async def _run(prefix: str, settings: ContextSettings, say: Sayer) -> int:
    client = await connect(prefix)
    try:
        facts = await read_facts(client, prefix)
        try:
            os.chdir(facts.folder)  # tasks run where the driver was started
            os.environ["PWD"] = facts.folder  # they are told the same name of it as all others
        except OSError as error:
            raise MachineError(
                f"this machine does not see the run's folder {facts.folder}: {error.strerror}"
            ) from None
        context = Context(client, facts, settings, say)
        try:
            await context.join()
            return await context.stay()
        finally:
            await context.close()
    finally:
        await client.close()


class Context:
    def __init__(self, client: AsyncClient, facts: RunFacts, settings: ContextSettings, say: Sayer) -> None:
        self._client = client
        self._facts = facts
        self._settings = settings
        self._say = say
        self._cid = os.urandom(8).hex()
        self._key = (CONTEXT_KEY + self._cid).encode()
        self._label = settings.label
        self._nodes = [node_name(settings, node) for node in settings.allocation.nodes]
        self._names: dict[int, str] = {}  # of nodes whose engine's process has not ended, by rank
        self._specs: dict[int, NodeSpec] = {}  # by rank
        self._remains = Remains(facts, settings, self._specs, self._swept)
        self._signed_in: set[int] = set()
        self._signals = 0
        self._hard = False  # what runs is to be stopped as well
        self._away = False  # from any driver
        self._loop = asyncio.get_running_loop()
        tell_shortages(self._loop, lambda text: say(text, "warning"))
        self._all_gone = asyncio.Event()
        here = driver_node(os.environ, socket.gethostname(), self._nodes)
        self._retirement = Retirement(
            settings.retire_command, self._nodes, here, lambda text: say(text, "warning"), os.environ
        )
        self._launches = Launches(self._exited, lambda text: say(text, "warning"))

    async def join(self) -> None:
        """Asks to be taken in, and starts the engines. Raises UsageError when refused."""
        slots = [node.slots for node in self._settings.allocation.nodes]
        rows = zip(self._nodes, slots, map(self._retirement.gives_back, self._nodes), strict=True)
        where = f"{socket.gethostname()}, process {os.getpid()}"
        settings = self._settings
        join = Join(self._cid, settings.label, settings.label_given, settings.task_limit, tuple(rows), where)
        answer = asyncio.ensure_future(
            self._client.get(self._key)
        )  # first: the driver watches who waits here
        await asyncio.sleep(0)
        self._tell(join)
        try:
            reply = decode_joining((await asyncio.wait_for(answer, ANSWER_S)).data)
        except (TimeoutError, KvsError, PeerError) as error:
            why = str(error) or f"no answer within {ANSWER_S:.0f} s"
            raise MachineError(f"the driver of this run does not take us in: {why}") from None
        if isinstance(reply, Refusal):
            if reply.why == "the run is ending":
                raise RunOverError(reply.why)
            raise UsageError(reply.why)
        if not isinstance(reply, Welcome) or len(reply.ranks) != len(self._nodes):
            raise MachineError("the driver answers something else than was asked")
        self._label = reply.label
        self._start(reply.ranks)

    def _start(self, ranks: tuple[int, ...]) -> None:
        self._names = dict(zip(ranks, self._nodes, strict=True))
        self._specs |= zip(ranks, self._settings.allocation.nodes, strict=True)
        for order in launch_orders(
            self._facts, self._settings, self._label, self._specs.items(), by_driver=False
        ):
            self._remains.sessions[order.rank] = order.session
            self._launches.order(order)
        slots = sum(node.slots for node in self._settings.allocation.nodes)
        self._say(notices.context_joined(self._label, len(ranks), slots), "note")

    async def stay(self) -> int:
        """Until every engine is gone, or the driver is."""
        on_end_signals(self._loop, self._signalled)
        job_end = self._watch_job_end()
        gone = asyncio.create_task(self._all_gone.wait())
        driver_gone = await self._served(gone)
        if job_end:
            job_end.stop()
        gone.cancel()
        await self._retirement.finish(RETIRE_END_S)
        await self._launches.finish()
        if driver_gone:
            return await self._judge_end()
        self._say(f"context {self._label} has ended", "note")
        return 0 if self._signed_in or not self._nodes else LOST_EXIT

    async def _served(self, gone: "asyncio.Task[bool]") -> bool:
        """Listens to the driver, and to whoever takes its place, until every engine is gone (False), or there is no
        driver any more (True)."""
        while True:
            listener = asyncio.create_task(self._listen())
            await asyncio.wait({listener, gone}, return_when=asyncio.FIRST_COMPLETED)
            listener.cancel()
            if gone.done() or not self._facts.reattach:
                return not gone.done()
            again = asyncio.create_task(self._come_back())
            await asyncio.wait({again, gone}, return_when=asyncio.FIRST_COMPLETED)
            again.cancel()
            if gone.done():  # in order, while its driver closed; or because there was none for too long
                return any(self._launches.codes.values())
            if not again.result():
                return True

    async def _come_back(self) -> bool:
        """Waits for another driver and tells it of this context; false when the run is over."""
        prefix = self._facts.prefix
        self._away = True
        await self.close()
        await asyncio.sleep(RETRY_S)  # a run that ends closes its connections before it is over
        said = False
        while True:
            try:
                self._client = await connect(prefix, RECONNECT_S)
                await self._rejoin()
            except RunOverError:
                return False
            except UsageError as refusal:  # it is of another run: nothing is to be waited for
                self._say(str(refusal), "error")
                return False
            except (DisBatchError, KvsError, OSError):
                if not said:
                    said = True
                    self._say(
                        f"the driver of {prefix} is gone; waiting for another one (--reattach)", "warning"
                    )
                await self.close()
                await asyncio.sleep(RETRY_S)
            else:
                self._away = False
                self._say(f"context {self._label} is back in the run", "note")
                if self._signals:  # what the driver before was told, or could not be
                    self._order(hard=self._hard)
                return True

    async def close(self) -> None:
        """Of the connection."""
        with contextlib.suppress(KvsError, OSError):
            await self._client.close()

    async def _rejoin(self) -> None:
        """Raises UsageError when the driver will not have us, MachineError when it does not answer."""
        await self._remains.finish()
        specs = self._specs
        rows = [
            (r, name, specs[r].slots, self._retirement.gives_back(name)) for r, name in self._names.items()
        ]
        where = f"{socket.gethostname()}, process {os.getpid()}"
        limit = self._settings.task_limit
        back = Rejoin(self._cid, self._label, limit, tuple(rows), where, self._remains.clean)
        answer = asyncio.ensure_future(self._client.get(self._key))
        await asyncio.sleep(0)
        self._tell(back)
        reply = decode_joining((await asyncio.wait_for(answer, ANSWER_S)).data)
        if isinstance(reply, Refusal):
            raise UsageError(f"context {self._label} is not taken back: {reply.why}")
        if not isinstance(reply, Welcome):
            raise MachineError("the driver answers something else than was asked")

    async def _judge_end(self) -> int:
        """The connection is gone: has the run ended, or died? One that ends closes its connections before it is over, and
        does not wait for engines that have not come."""
        until = self._loop.time() + OVER_S
        while self._loop.time() < until:
            try:
                find_run(self._facts.prefix)
            except RunOverError as over:
                self._say(str(over), "note")
                return 0
            except DisBatchError:
                pass
            await asyncio.sleep(LOOK_S)
        self._say(f"the driver of {self._facts.prefix} is gone; its engines here have been ended", "error")
        return LOST_EXIT

    async def _listen(self) -> None:
        """Takes in what the driver says; returns when the connection is gone."""
        with contextlib.suppress(KvsError, OSError):
            while True:
                value = await self._client.get(self._key)
                try:
                    message = decode_joining(value.data)
                except PeerError as error:
                    self._say(f"dropped a message: {error}", "warning")
                    continue
                if isinstance(message, SignedIn):
                    self._signed_in.add(message.rank)
                    self._launches.signed_in(message.rank)
                elif isinstance(message, SweepOrder):
                    self._remains.sweep(message.rank, message.sid)

    def _exited(self, rank: int, why: str) -> None:
        node = self._names.pop(rank)
        if why and rank not in self._signed_in:
            self._say(f"no engine could be started on {node}: {why}", "error")
        code = self._launches.codes.get(rank, NOT_LAUNCHED)
        # away from the driver, its word that an engine has signed in may have been lost with it
        if code != 0 and (self._away or rank in self._signed_in):
            self._remains.left(rank, at_once=self._away)
        with contextlib.suppress(KvsError):
            self._tell(ProcessGone(self._cid, rank, why))
        self._retirement.ended(node, code)
        self._look_around()

    def _swept(self, rank: int, sid: str, clean: bool) -> None:
        with contextlib.suppress(KvsError):
            self._tell(SweptThere(self._cid, rank, sid, clean))
        self._look_around()

    def _look_around(self) -> None:
        if not self._names and not self._remains.wanted:
            self._all_gone.set()

    def _watch_job_end(self) -> JobEnd | None:
        before_s = self._settings.drain_before_s
        if before_s is None:
            return None

        def near() -> None:
            self._say(notices.context_drains(self._label, before_s), "note")
            self._order(hard=False)

        watch = JobEnd(os.environ, before_s, near, lambda text: self._say(text, "note"))
        watch.start()
        return watch

    def _order(self, *, hard: bool) -> None:
        """Has the driver end this context: it knows the engines."""
        with contextlib.suppress(KvsError):
            self._tell(Order("context", self._label, f"disBatch answer {self._cid}", hard))

    def _signalled(self, signum: int) -> None:
        """Ctrl-C once: what runs may finish; again, or TERM: it is stopped."""
        self._signals += 1
        hard = self._hard = self._hard or signum != signal.SIGINT or self._signals > 1
        if self._signals > 2:
            self._all_gone.set()
            return
        what = "what runs is stopped" if hard else "what runs may finish (interrupt again to stop it)"
        self._say(f"context {self._label} ends: {what}", "note")
        self._order(hard=hard)
        if hard:
            self._loop.call_later(self._facts.grace_s + 5.0, self._all_gone.set)

    def _tell(self, message: Join | Rejoin | ProcessGone | Order | SweptThere) -> None:
        self._client.put(join_key(self._facts.did), Value(JSON, encode_joining(message)))
