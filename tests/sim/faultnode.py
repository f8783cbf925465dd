"""An engine of the simulation with everything around it: its guard, launcher, clock, connection and processes.

The core is the real one. What the shells do (guard, sweep, reconnecting) is done here as they do it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from faultbeside import kill_from_below, look_at_driver
from faultnet import Connection
from faultrules import acknowledged, answered
from faultsite import Site
from faultworld import EPOCH_S, Process, World

from disbatch.core.engine import EngineCore
from disbatch.core.engine_events import (
    Deadline,
    DieCame,
    DownCame,
    Effect,
    Ended,
    Kill,
    KillAll,
    Leave,
    SetTimer,
    SignIn,
    Spawn,
    Tell,
    TermCame,
    Tick,
    TimerRang,
)
from disbatch.core.engine_events import Event as EngineEvent
from disbatch.core.lease import heartbeat_s
from disbatch.core.messages import ORPHANED, Die, Down, Hello, Up
from disbatch.core.model import Outcome
from disbatch.core.phases import EngineConfig

if TYPE_CHECKING:
    from faulthouse import DriverLife

GRACE_S = 1.0


class Node:
    """One engine process with its guard. A later engine on the same machine is another Node of the same name."""

    def __init__(
        self, world: World, driver: "DriverLife", rank: int, name: str, slots: int, site: Site | None = None
    ) -> None:
        self.world = world
        self.dirty = False  # its process ended, and not in order
        self.in_vain = False  # a sweep has failed: the next may come too late
        self.site = site  # that has started it, where that was not the driver
        self.driver = driver
        self.rank = rank
        self.name = name
        self.slots = slots
        self.offset_s = world.random.choice((0.0, 1000.0, 1e6))  # of this machine's clock
        lease_s = driver.plan.lease_s
        self.core = EngineCore(
            EngineConfig(f"{driver.did}e{rank}", rank, name, slots, GRACE_S, lease_s=lease_s)
        )
        self.engine_up = self.guard_up = self.launcher_up = True
        self.frozen_until = self.guard_frozen_until = self.cut_until = 0.0
        self.running: dict[int, Process] = {}  # as the engine believes, by slot
        self.mine: list[Process] = []  # what really was started here
        self.connection: Connection | None = None
        self._deadline: float | None = None  # as the guard knows it, by world time
        self._timers: set[str] = set()
        self._inbox: list[tuple[int, EngineEvent]] = []
        self._left = False
        self._unreachable_since: float | None = None
        self.answered_at = 0.0  # or has begun to wait for an answer

    # -- life

    @property
    def gone(self) -> bool:
        """Whether nothing of it is left."""
        return not self.engine_up and not self.guard_up and not any(p.alive for p in self.mine)

    @property
    def context_up(self) -> bool:
        return self.site is None or self.site.up

    @property
    def reachable(self) -> bool:
        """Whether somebody can have it swept."""
        back = self.site is None or self.site.back
        return self.cut_until <= self.world.now and self.context_up and back and not self.in_vain

    @property
    def nobody_watches(self) -> bool:
        """Neither engine nor guard could kill the tasks now."""
        now = self.world.now
        return (not self.engine_up or self.frozen_until > now) and (
            not self.guard_up or self.guard_frozen_until > now
        )

    def begin(self) -> None:
        self._connect()
        self._beat()

    def clock(self) -> float:
        return self.world.now + self.offset_s

    def _beat(self) -> None:
        if self.engine_up:
            if self.frozen_until <= self.world.now:
                answered(self)
                look_at_driver(self)
            self.happens(Tick())
            self.world.later(heartbeat_s(self.driver.plan.lease_s), self._beat)

    # -- the connection

    def _connect(self) -> None:
        """Until it succeeds, or there is no driver any more."""
        world = self.world
        if not self.engine_up or self._left:
            return
        if self.frozen_until > world.now or self.cut_until > world.now:
            world.later(
                max(self.frozen_until, self.cut_until) - world.now + self.driver.delay(), self._connect
            )
            return
        if not self.driver.alive:
            self._refused()
            return
        self._unreachable_since = None
        self.happens(Tick())  # a lease may have ended meanwhile: what it held then must not be claimed
        if not self.engine_up:
            return
        hello = self.core.hello(self.clock())
        self.connection = Connection(self, hello.sid, hello.ep)
        self.answered_at = self.world.now
        self.driver.connections[hello.sid, hello.ep] = self.connection
        self._send(hello)

    def _refused(self) -> None:
        """There is no driver. One of a context's engines waits for the next, for its lease and another one."""
        world = self.world
        since = self._unreachable_since = self._unreachable_since or world.now
        if self.site and self.launcher_up and world.now - since < 2 * self.driver.plan.lease_s:
            world.later(world.random.uniform(0.05, 1.5), self._connect)
        else:
            world.later(world.random.uniform(0.0, 1.5), self.end)

    def lose_connection(self) -> None:
        """It breaks; the engine learns of it some time later."""
        if self.connection is None:
            return
        self.connection.break_()
        self.driver.connections.pop(self.connection.key, None)
        self.connection = None
        self.world.later(self.driver.delay() + 0.01, self._connect)

    def _send(self, message: Hello | Up) -> None:
        if self.connection is not None:
            driver = self.driver
            self.connection.carry("up", lambda: driver.message_came(message))

    def down_came(self, message: Down | Die) -> None:
        self.answered_at = self.world.now
        self.happens(DownCame(message) if isinstance(message, Down) else DieCame(message))

    # -- the engine proper

    def happens(self, event: EngineEvent) -> None:
        if not self.engine_up:
            return
        if self.frozen_until > self.world.now:
            self._inbox.append((len(self._inbox), event))
            return
        if self.core.lease_over(self.clock()):
            look_at_driver(self)
        sid, reports = self.core.sid, list(self.core._reports) if isinstance(event, DownCame) else []
        effects = self.core.handle(self.clock(), event)
        if reports and self.core.sid == sid:
            acknowledged(self, reports[: len(reports) - len(self.core._reports)])
        self.carry_out(effects)

    def carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if self.engine_up:
                _CARRIERS[type(effect)](self, effect)

    def _spawn(self, effect: Spawn) -> None:
        world, job = self.world, effect.job
        process = world.start(self.name, self.slots, effect.slot, job, self.site)
        self.running[effect.slot] = process
        self.mine.append(process)
        plan = self.driver.plan
        code = plan.code(job)
        kills = job.kind == "T" and plan.guilty(job.task_id)
        seconds = plan.duration(world.random)
        world.later(seconds, lambda: kill_from_below(self, process) if kills else self._ends(process, code))

    def _ends(self, process: Process, code: int) -> None:
        if process.alive:
            self.world.end(process, code)
            self._reaped([process])

    def _reaped(self, processes: list[Process]) -> None:
        ends = []
        for process in processes:
            if self.running.get(process.slot) is process:
                del self.running[process.slot]
                ends.append((process.slot, self._outcome(process)))
        if ends:
            self.happens(Ended(ends))

    def _outcome(self, process: Process) -> Outcome:
        code = -9 if process.code is None else process.code
        began, seconds = EPOCH_S + process.start_s, self.world.now - process.start_s
        return Outcome(process.number, code, seconds, began, began + seconds, 0, "", 0, "", 0.0, 0)

    def _signal(self, effect: Kill) -> None:
        world = self.world
        victims = [p for p in self.running.values() if effect.hard or world.chance(0.7)]

        def die() -> None:
            killed = [p for p in victims if p.alive]
            for process in killed:
                world.end(process, None)
            self._reaped(killed)

        world.later(self.driver.delay(), die)

    def _set_timer(self, effect: SetTimer) -> None:
        if effect.name in self._timers:
            return
        self._timers.add(effect.name)

        def ring() -> None:
            self._timers.discard(effect.name)
            self.happens(TimerRang(effect.name))

        self.world.later(effect.after_s, ring)

    def _kill_all(self, effect: KillAll) -> None:
        self.world.note(f"engine {self.rank} kills everything: {effect.why}")
        self._kill_tasks()

    def _kill_tasks(self) -> None:
        for process in self.mine:
            self.world.end(process, None)
        self.mine.clear()
        self.running.clear()
        self._inbox = [each for each in self._inbox if not isinstance(each[1], Ended)]

    def _sign_in(self, effect: SignIn) -> None:
        if self.connection is not None:
            self.lose_connection()

    def _leave(self, effect: Leave) -> None:
        """The connection is closed, and the process ends, when the server has read everything."""
        self._left = True
        wait_s = self.connection.still_s("up") if self.connection else 0.0
        self.world.later(wait_s, self.end)

    # -- ends

    def end(self) -> None:
        """The engine ends in order: it kills what it left, and its guard and launcher end with it."""
        if self.engine_up:
            if self.frozen_until > self.world.now:
                self.world.later(self.frozen_until - self.world.now, self.end)
                return
            self._kill_tasks()
            self.engine_up = False
            self._guard_notices()

    def engine_dies(self) -> None:
        """By SIGKILL. Its tasks run on until the guard has seen it."""
        if self.engine_up:
            self.engine_up = False
            if self.connection is not None:
                self.lose_connection()
            self._guard_notices()

    def guard_dies(self) -> None:
        """By SIGKILL. The launcher ends with it, and is heard of perhaps before the engine has killed its tasks."""
        if self.guard_up:
            self.guard_up = False
            self._launcher_ends("killed by SIGKILL")
            self.world.later(self.world.random.uniform(0.0, 0.2), self.end)

    def launcher_dies(self) -> None:
        """ssh or srun is killed: the engine's lifeline ends, unless its node cannot be reached."""
        if self.launcher_up:
            self.launcher_up = False  # it runs beside the driver or a context, which sees it soon
            self.dirty = True
            chance = self.world.random
            seen_s = self.driver.delay() + chance.choice((0.0, chance.uniform(0.0, 0.1)))
            self.world.later(seen_s, lambda: self.driver.exited(self.rank, "killed by SIGKILL"))
            wait_s = max(0.0, self.cut_until - self.world.now)
            wait_s += chance.choice((0.0, chance.uniform(0.0, 0.5)))
            self.world.later(wait_s, self._lifeline_ends)

    def _lifeline_ends(self) -> None:
        """It leaves in order where the driver still listens, which may hear that before it sees the launcher's end."""
        if (
            self.engine_up
            and self.connection is not None
            and self.driver.alive
            and self.driver.ending is None
        ):
            self.happens(TermCame(ORPHANED))
        else:
            self.end()

    def _guard_notices(self) -> None:
        world = self.world

        def notice() -> None:
            if self.guard_frozen_until > world.now:
                world.later(self.guard_frozen_until - world.now, notice)
            elif self.guard_up:
                self._kill_tasks()
                self.guard_up = False
                self._launcher_ends("its process ended")

        if self.guard_up:
            world.later(world.random.uniform(0.0, 0.05), notice)

    def _launcher_ends(self, why: str) -> None:
        """News of it do not come through a network that is cut."""
        if self.launcher_up:
            self.launcher_up = False
            self.dirty = not self._left
            wait_s = max(0.0, self.cut_until - self.world.now) + self.driver.delay()
            self.world.later(wait_s, lambda: self.driver.exited(self.rank, why))

    # -- the guard's deadline

    def _told(self, effect: Deadline) -> None:
        at = self._deadline = None if effect.at_s is None else effect.at_s - self.offset_s
        if at is not None:
            self.world.later(at - self.world.now, lambda: self._rings(at))

    def _rings(self, at: float) -> None:
        if self._deadline != at or not self.guard_up or not self.engine_up:
            return
        if self.guard_frozen_until > self.world.now:
            self.world.later(self.guard_frozen_until - self.world.now, lambda: self._rings(at))
            return
        self.world.note(f"the guard of engine {self.rank} kills everything")
        self.world.counts["guard's deadline"] += 1
        self.engine_dies()

    # -- what is done to it

    def freeze(self, seconds: float) -> None:
        self.frozen_until = max(self.frozen_until, self.world.now + seconds)
        self.world.later(self.frozen_until - self.world.now, self._thaw)

    def freeze_guard(self, seconds: float) -> None:
        self.guard_frozen_until = max(self.guard_frozen_until, self.world.now + seconds)

    def _thaw(self) -> None:
        if self.frozen_until > self.world.now:
            return
        inbox, self._inbox = self._inbox, []
        while inbox and self.engine_up:
            self.happens(inbox.pop(0)[1])
            # what killed everything has also forgotten which processes had ended before
            if not self.mine:
                inbox = [each for each in inbox if not isinstance(each[1], Ended)]

    def cut(self, seconds: float) -> None:
        """Nothing reaches it, and nothing comes from it; when it is over, the connection may live or be broken."""
        self.cut_until = max(self.cut_until, self.world.now + seconds)
        if self.world.chance(0.6):
            self.world.later(self.world.random.uniform(0.0, seconds), self.lose_connection)

    def terminate(self) -> None:
        self.happens(TermCame(tasks=None if self.rank % 2 else ()))

    def swept(self) -> bool:
        """Everything of this session is killed."""
        self._kill_tasks()
        self.engine_up = False
        if self.connection is not None:
            self.lose_connection()
        if self.guard_up:
            self.guard_up = False
            self._launcher_ends("killed by SIGKILL")
        return True


_CARRIERS: dict[type, Callable[[Node, Any], None]] = {
    Spawn: Node._spawn,
    Tell: lambda node, effect: node._send(effect.message),
    SetTimer: Node._set_timer,
    Kill: Node._signal,
    Deadline: Node._told,
    KillAll: Node._kill_all,
    SignIn: Node._sign_in,
    Leave: Node._leave,
}
