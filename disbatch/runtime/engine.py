"""The engine's event loop: connection, processes and timers around an `EngineCore`.

It runs in a process of its own, below a guard. Everything that decides is in `core.engine`.
"""

import asyncio
import contextlib
import logging
import os
import signal
import time

from disbatch.core.engine import EngineCore
from disbatch.core.engine_events import (
    NO_SLOT,
    Deadline,
    DieCame,
    DownCame,
    DriverStands,
    Effect,
    Ended,
    Event,
    Kill,
    KillAll,
    Leave,
    SetTimer,
    SignIn,
    Spawn,
    Tell,
    TermCame,
    Tick,
    TimerName,
    TimerRang,
)
from disbatch.core.errors import MachineError, PeerError
from disbatch.core.lease import heartbeat_s
from disbatch.core.messages import ORPHANED, Die, Down, Hello, Up
from disbatch.core.plural import counted
from disbatch.core.printable import BREAK, printable_message
from disbatch.output import print_last
from disbatch.runtime.affinity import Affinity
from disbatch.runtime.alive import is_stopped
from disbatch.runtime.bus import down_key, from_value, to_value, up_key
from disbatch.runtime.descriptors import raise_limit_of_engine
from disbatch.runtime.enginestart import LIFELINE_MARK, EngineStart, TaskEnvironment
from disbatch.runtime.folder import enter_again
from disbatch.runtime.guard import kill_descendants, tell_deadline
from disbatch.runtime.line import DriverLine
from disbatch.runtime.logs import open_log
from disbatch.runtime.processes import ProcessTable
from disbatch.runtime.provision import Provision, provide
from disbatch.runtime.sender import Sender, find_sender, open_term_fd, read_sender
from disbatch.runtime.settings import VITALS_S
from disbatch.runtime.spawner import Spawner
from disbatch.runtime.unexpected import in_words, watch, watch_destructors
from disbatch.runtime.vitals import read_vitals
from kvsstcp.aclient import AsyncClient
from kvsstcp.errors import ConnectionFailed, KvsError
from kvsstcp.values import Value

LAST_WORDS_S = 1.0  # for a terminal that is stopped to take why this engine ends
NOTE_S = 60.0  # a user need not be told more often that a node is short of something
MERCY_S = 0.5  # for what got TERM with its task and is tidying up when the task's own bash is already gone


class EngineShell:
    def __init__(
        self,
        start: EngineStart,
        provision: Provision,
        guard_fd: int,
        deadline_fd: int,
        log: logging.Logger,
    ) -> None:
        self._start = start
        self._provision = provision
        self._guard_fd = guard_fd
        self._deadline_fd = deadline_fd
        self._client: AsyncClient | None = None
        self._log = log
        self._core = EngineCore(provision.config)
        self._environment = TaskEnvironment(os.environb, start, provision.environ)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self.mercy_s = 0.0  # what tasks have left behind gets this long before it is killed
        self._vitals_due = 0.0
        self._note = ""
        self._note_due = 0.0

    async def run(self) -> int:
        """Serves the driver until it says stop, or is gone. Returns the exit code of the process."""
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[int] = self._loop.create_future()
        watch(self._loop, self._log, self._broken)
        sets = self._provision.cpus.plan.sets
        self._table = ProcessTable(self._loop.call_later, Affinity(sets) if sets else None)
        self._spawner = Spawner(
            self._table,
            self._environment.of,
            self._loop.call_later,
            lambda ends: self._happened(Ended(ends)),
            self._short,
        )
        self._loop.add_reader(self._table.signal_fd, self._some_ended)
        self._loop.add_reader(self._table.output_fd, self._table.drain)
        self._term_fd = open_term_fd()
        self._loop.add_reader(self._term_fd, self._termed)
        self._loop.add_reader(self._guard_fd, self._end, "the guard of this engine died", 3)
        start = self._start
        certificate = start.certificate
        if certificate is None:
            certificate = _read_certificate(start.lifeline_fd)
        self._loop.add_reader(start.lifeline_fd, self._launcher_gone)
        self._up = up_key(start.facts.did)
        lease_s = start.config.lease_s
        self._line = DriverLine(
            start.addresses,
            start.token,
            certificate or None,
            lease_s,
            self._log,
            start.facts.info_path if start.facts.reattach else None,
        )
        connection = asyncio.create_task(self._stay_connected())
        heart = asyncio.create_task(self._beat(heartbeat_s(lease_s)))
        await asyncio.wait((self._over, connection, heart), return_when=asyncio.FIRST_COMPLETED)
        if not self._over.done():
            # raises the reason why there will be no connection any more
            await (connection if connection.done() else heart)
        heart.cancel()
        if self._client is not None and self._over.exception() is None:
            with contextlib.suppress(KvsError, OSError):
                await self._client.close()
        connection.cancel()
        return self._over.result()

    async def _stay_connected(self) -> None:
        """Signs in, and again on a new connection whenever one has broken or a new session begins."""
        while True:
            client = await self._line.connect()
            try:
                # a lease may have ended meanwhile: what was held then must not be claimed from a driver that knows us not
                self._happened(Tick())
                hello = self._core.hello(_now())
                # asked for before the hello: the server then knows whose connection it was when it breaks
                first = asyncio.ensure_future(client.get(down_key(hello.sid, hello.ep)))
                await asyncio.sleep(0)
                self._client = client
                self._tell(hello)
                await self._listen(client, first, down_key(hello.sid, hello.ep))
            except (KvsError, PeerError, OSError) as error:
                if self._over.done():
                    return
                self._log.warning("the connection to the driver is gone: %s", error)
            finally:
                self._client = None
                client.abort()

    async def _listen(self, client: AsyncClient, first: "asyncio.Future[Value]", key: bytes) -> None:
        message = from_value(await first)
        while True:
            if isinstance(message, Down):
                self._happened(DownCame(message))
            elif isinstance(message, Die):
                self._happened(DieCame(message))
            message = from_value(await client.get(key))

    async def _beat(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            self._look_at_driver()
            self._happened(Tick())

    def _some_ended(self) -> None:
        ends = self._table.reap()
        if ends:
            self._spawner.retry()
            self._happened(Ended(ends))

    def _termed(self) -> None:
        """SIGTERM: of a scheduler, of a person, or of a task, which then is told apart from those that run beside it."""
        pid = read_sender(self._term_fd)
        task_id = self._core.task_in(self._table.slot_of(pid))  # also of a bash that has just ended
        if task_id is None:
            sender = find_sender(pid, self._start.session)
        else:
            sender = Sender(f"from task {task_id}, process {pid}", (task_id,))
        self._log.info("SIGTERM %s", sender.text)
        self._happened(TermCame(f"it got SIGTERM {sender.text}", sender.tasks))

    def _happened(self, event: Event) -> None:
        """Gives an event to the core and carries out what it says; a spawn that fails is an event again."""
        if self._over.done():
            return
        try:
            now = _now()
            if self._core.lease_over(now):
                self._look_at_driver()
            self._carry_out(self._core.handle(now, event))
        except Exception as error:
            # what was not carried out, a task that was not started, would be waited for without end
            self._log.error("%s", type(event).__name__, exc_info=error)
            self._broken(in_words(error))

    def _look_at_driver(self) -> None:
        """One that is stopped answers nobody. It can give nothing to others, either: it is waited for."""
        pid = self._start.driver_pid
        if pid and not self._over.done() and is_stopped(pid):
            self._carry_out(self._core.handle(_now(), DriverStands()))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Spawn):
                job = effect.job
                enter_again(self._start.facts.folder)
                self._spawner.start(effect.slot, job)
                if effect.slot == NO_SLOT:
                    self._log.info(
                        "per-engine command of line %d: %s",
                        job.line_no,
                        job.command.decode("utf-8", "replace"),
                    )
            elif isinstance(effect, Tell):
                self._tell(effect.message)
            elif isinstance(effect, SetTimer):
                if effect.name not in self._timers:
                    self._timers[effect.name] = self._loop.call_later(effect.after_s, self._ring, effect.name)
            elif isinstance(effect, Kill):
                self._log.info("running tasks get %s", "KILL" if effect.hard else "TERM")
                signum = signal.SIGKILL if effect.hard else signal.SIGTERM
                self.mercy_s = 0.0 if effect.hard else MERCY_S
                self._table.kill(signum)
                self._spawner.drop(signum)
            elif isinstance(effect, Deadline):
                tell_deadline(self._deadline_fd, effect.at_s)
            elif isinstance(effect, KillAll):
                self._kill_all(effect.why)
            elif isinstance(effect, SignIn):
                if self._client is not None:
                    self._client.abort()
            elif isinstance(effect, Leave):
                self._end("all said and done", 0)

    def _tell(self, message: Hello | Up) -> None:
        """Sends a message to the driver; now and then it says as well how this node is. Without a connection there is
        nothing to do: the next hello says it all."""
        if self._client is None:
            return
        now = _now()
        if now >= self._vitals_due:
            self._vitals_due = now + VITALS_S
            message = message._replace(vitals=read_vitals())
        if self._note and isinstance(message, Up):
            message, self._note = message._replace(note=self._note), ""
        with contextlib.suppress(KvsError):
            self._client.put(self._up, to_value(message))

    def _kill_all(self, why: str) -> None:
        self._log.error("everything that runs here is killed: %s", why)
        self._table.kill(signal.SIGKILL)
        self._spawner.forget()
        kill_descendants()
        self._table.forget()

    def _launcher_gone(self) -> None:
        """The end of the lifeline. Where the driver itself still listens, it was a context that died: it is told."""
        self._log.info(ORPHANED)
        self._loop.remove_reader(self._start.lifeline_fd)
        self._line.launcher_gone()  # of a driver that is dead, this may be seen before its connections end
        if self._client is None:
            self._end("the driver is gone", 3)
        else:
            self._happened(TermCame(ORPHANED))

    def _short(self, text: str) -> None:
        """Something is missing here that tasks need: for the log, and for the user, with the next message."""
        self._log.warning(text)
        now = _now()
        if now >= self._note_due:
            self._note_due = now + NOTE_S
            self._note = text
            self._loop.call_soon(self._happened, Tick())

    def _ring(self, name: TimerName) -> None:
        del self._timers[name]
        self._happened(TimerRang(name))

    def _end(self, why: str, code: int) -> None:
        if not self._over.done():
            self._log.log(logging.INFO if code == 0 else logging.ERROR, "this engine ends: %s", why)
            self._over.set_result(code)

    def _broken(self, why: str) -> None:
        """What nobody expects has happened. The engine ends, its tasks with it, and is lost: the driver knows what to do."""
        if not self._over.done():
            self._over.set_exception(MachineError(why))


class _DriverEnded(MachineError):
    """The driver on this machine has said itself why it ended."""


def _read_certificate(fd: int) -> bytes:
    data = b""
    while not data.endswith(LIFELINE_MARK):
        part = os.read(fd, 65536)
        if not part:
            raise _DriverEnded("the driver ended before this engine had begun")
        data += part
    return data.removesuffix(LIFELINE_MARK)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _provide(start: EngineStart, log: logging.Logger) -> Provision:
    provision = provide(
        start.config,
        start.bind,
        gpus=start.gpus,
        cores_per_task=start.cores_per_task,
        environ=os.environ,
    )
    config = provision.config
    log.info("engine %d on %s: %s", config.rank, config.node, counted(config.slots, "slot"))
    log.info("binding of tasks to CPUs: %s", provision.cpus.plan)
    for slot, variables in enumerate(provision.environ):
        text = " ".join(f"{name.decode()}={os.fsdecode(value)}" for name, value in variables.items())
        log.info("GPUs of slot %d: %s", slot, text)
    return provision


def _say(start: EngineStart, words: str) -> None:
    if start.certificate is None:
        # beside the driver, whose terminal this is; elsewhere, whoever launched us shows what we say
        words = "disBatch: error: " + words.replace(BREAK, "; ")
    print_last(2, [printable_message(words)], LAST_WORDS_S)


def engine_process(start: EngineStart, guard_fd: int, deadline_fd: int) -> int:
    """The whole life of the engine proper. Returns its exit code; nothing that it started is left."""
    try:
        log = open_log(start.log, start.facts.loglevel, "engine")
    except OSError as error:
        _say(start, f"this engine cannot work: it cannot write its log {start.log}: {error.strerror}")
        return 3
    watch_destructors(log)
    after_s = 0.0
    try:
        raise_limit_of_engine(start.config.slots)
        provision = _provide(start, log)
        # Not asyncio.run, which waits for its threads at the end: one may still be asking a name server that does not
        # answer for an address of the driver that was not needed. The process ends by os._exit.
        shell = EngineShell(start, provision, guard_fd, deadline_fd, log)
        try:
            return asyncio.new_event_loop().run_until_complete(shell.run())
        finally:
            after_s = shell.mercy_s
    except Exception as error:
        # the top of this process
        words = f"this engine cannot work: {in_words(error)}"
        if isinstance(error, ConnectionFailed):
            words += "; --use-address HOST:PORT tells disBatch at which of its addresses this node finds it"
        log.error(words)
        if not isinstance(error, _DriverEnded):
            _say(start, words)
        return 3
    finally:
        used = os.times()
        log.info(
            "processor time: %.2f s of the engine, %.2f s of its tasks",
            used.user + used.system,
            used.children_user + used.children_system,
        )
        kill_descendants(after_s)
        logging.shutdown()
