"""Ten thousand engines on a virtual clock: the real cores of driver and engines, five million tasks, engines that die.

    .venv/bin/python benchmarks/simscale.py [--quick] [--message-us N] [--engines N] [--tasks N]

Simulated are the network (a delay), the disk (a delay), and time. With --message-us each message costs the driver so much
of it, which is what a real one has to pay (benchmarks/scale.py measures it): what comes meanwhile waits. Idle time is that of
slots on living engines while tasks are waiting for one.
"""

import argparse
import heapq
import random
import resource
import sys
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Any

from disbatch.core.driver import DriverConfig, DriverCore
from disbatch.core.driver_events import (
    EngineExited,
    EngineLaunched,
    Instant,
    ItemsCame,
    LaunchAgain,
    ListEnded,
    MessageCame,
    Over,
    Record,
    Send,
    Sweep,
    Swept,
    Tick,
    Written,
)
from disbatch.core.engine import EngineCore
from disbatch.core.engine_events import DownCame, Ended, Job, Leave, SetTimer, Spawn, Tell, TimerRang
from disbatch.core.engine_events import Tick as Beat
from disbatch.core.lease import heartbeat_s, tick_s
from disbatch.core.losses import LossPolicy
from disbatch.core.messages import Down, Hello, Up
from disbatch.core.model import Outcome, Task
from disbatch.core.phases import EngineConfig

LEASE_S = 300.0
DELAY_S = 0.001  # of a message, each way
DISK_S = 0.001
JOIN_S = 10.0  # over which engines sign in
FAILING = 0.01  # of all engines
LAUNCH_S = 2.0  # until a new engine signs in
WANTED_IDLE = 0.005
EPOCH_S = 1_700_000_000.0


class Engine:
    """A node: its core, what runs there, and how long its slots have stood idle."""

    __slots__ = ("alive", "busy", "core", "ends", "idle_s", "life_s", "looked_s", "rank", "timers")

    def __init__(self, rank: int, slots: int) -> None:
        self.rank = rank
        self.core = EngineCore(EngineConfig(f"sid{rank}", rank, f"n{rank}", slots, 5.0, lease_s=LEASE_S))
        self.alive = True
        self.busy = 0
        self.ends: dict[int, float] = {}  # by slot: when what runs there will have ended
        self.timers: set[str] = set()
        self.idle_s = self.life_s = 0.0  # of all its slots together
        self.looked_s = 0.0


class Simulation:
    def __init__(self, engines: int, slots: int, tasks: int, message_s: float, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.slots = slots
        self.message_s = message_s
        self.driver = DriverCore(DriverConfig("did", "driver", 1, False, losses=LossPolicy(LEASE_S)), None)
        self.engines: dict[int, Engine] = {}
        self.heap: list[tuple[float, int, Any, Any]] = []
        self.tie = self.events = self.lost = 0
        self.inbox: deque[Any] = deque()  # messages that wait for the driver
        self.driver_free_s = 0.0
        self.recorded = bytearray(tasks)  # how many lines each task has
        self.ready_until = 0.0  # the last moment at which a task was waiting for a slot
        self.over = False
        self.to_read: Iterator[Task] = (Task(n, 1, n, b"true") for n in range(tasks))
        for rank in range(engines):
            self.tell_driver(EngineLaunched(rank, f"n{rank}", slots, "SIM"))
            self.at(self.random.uniform(0.0, JOIN_S), self.join, rank)
        for rank in self.random.sample(range(engines), max(1, round(FAILING * engines))):
            self.at(self.random.uniform(JOIN_S, JOIN_S + tasks / (engines * slots) * 50.0), self.die, rank)
        self.at(0.0, self.driver_tick, None)

    def at(self, moment_s: float, what: Any, whom: Any) -> None:
        self.tie += 1
        heapq.heappush(self.heap, (moment_s, self.tie, what, whom))

    def run(self) -> None:
        while not self.over:
            self.now, _, what, whom = heapq.heappop(self.heap)
            self.events += 1
            what(whom)

    # -- the driver

    def tell_driver(self, event: Any) -> None:
        for effect in self.driver.handle(Instant(self.now, EPOCH_S + self.now), event):
            kind = type(effect)
            if kind is Send:
                self.at(self.now + DELAY_S, self.down, effect.message)
            elif kind is Record:
                self.record(effect.rows)
                self.at(self.now + DISK_S, self.written, effect.batch)
            elif kind is Sweep:
                self.at(self.now + 0.1, self.tell_driver, Swept(effect.sid, True))
            elif kind is LaunchAgain:
                self.at(self.now + LAUNCH_S, self.join, effect.rank)
            elif kind is Over:
                self.over = True
        if self.driver.ledger.ready or not self.driver.list_ended:
            self.ready_until = self.now
        while self.driver.wants:
            some: list[Any] = list(islice(self.to_read, self.driver.wants))
            self.tell_driver(ItemsCame(some) if some else ListEnded())

    def message(self, message: Hello | Up) -> None:
        """It has arrived; it is looked at when those before it have been."""
        if not self.message_s:
            self.tell_driver(MessageCame(message))
            return
        self.inbox.append(message)
        if len(self.inbox) == 1:
            self.at(max(self.now, self.driver_free_s), self.serve, None)

    def serve(self, _: None) -> None:
        self.driver_free_s = self.now + self.message_s
        self.tell_driver(MessageCame(self.inbox.popleft()))
        if self.inbox:
            self.at(self.driver_free_s, self.serve, None)

    def record(self, rows: list[Any]) -> None:
        for row in rows:
            self.recorded[row.task_id] += 1

    def written(self, batch: int) -> None:
        self.tell_driver(Written(batch))

    def driver_tick(self, _: None) -> None:
        self.tell_driver(Tick())
        self.at(self.now + tick_s(LEASE_S), self.driver_tick, None)

    # -- engines

    def join(self, rank: int) -> None:
        engine = self.engines[rank] = Engine(rank, self.slots)
        engine.looked_s = self.now
        self.at(self.now + DELAY_S, self.message, engine.core.hello(self.now))
        self.at(self.now + heartbeat_s(LEASE_S), self.beat, engine)

    def die(self, rank: int) -> None:
        """With all that runs there; its launcher is seen to be gone."""
        engine = self.engines[rank]
        self.account(engine)
        engine.alive = False
        self.lost += 1
        self.at(self.now + 0.01, self.tell_driver, EngineExited(rank, "killed"))

    def beat(self, engine: Engine) -> None:
        if engine.alive:
            self.tell_engine(engine, Beat())
            self.at(self.now + heartbeat_s(LEASE_S), self.beat, engine)

    def down(self, message: Down) -> None:
        engine = self.engines[int(message.sid[3:])]
        if engine.alive:
            self.tell_engine(engine, DownCame(message))

    def ring(self, whom: tuple[Engine, str]) -> None:
        engine, name = whom
        engine.timers.discard(name)
        if engine.alive:
            self.tell_engine(engine, TimerRang(name))  # type: ignore[arg-type]

    def end(self, whom: tuple[Engine, int, float]) -> None:
        engine, slot, seconds = whom
        if engine.alive:
            self.account(engine)
            engine.busy -= 1
            wall = EPOCH_S + self.now
            outcome = Outcome(4711, 0, seconds, wall - seconds, wall, 0, "", 0, "", 0.0, 1000)
            self.tell_engine(engine, Ended([(slot, outcome)]))

    def tell_engine(self, engine: Engine, event: Any) -> None:
        for effect in engine.core.handle(self.now, event):
            kind = type(effect)
            if kind is Spawn:
                self.account(engine)
                engine.busy += 1
                seconds = self.duration(effect.job)
                self.at(self.now + seconds, self.end, (engine, effect.slot, seconds))
            elif kind is Tell:
                self.at(self.now + DELAY_S, self.message, effect.message)
            elif kind is SetTimer:
                if effect.name not in engine.timers:
                    engine.timers.add(effect.name)
                    self.at(self.now + effect.after_s, self.ring, (engine, effect.name))
            elif kind is Leave:
                self.account(engine)
                engine.alive = False

    def duration(self, job: Job) -> float:
        """1 to 100 s, from the task alone: a second attempt takes as long as the first."""
        return 1.0 + (job.task_id * 2654435761 % 4294967296) / 4294967296 * 99.0

    def account(self, engine: Engine) -> None:
        """Idle time of its slots since the last look, as long as tasks were waiting."""
        until = min(self.now, self.ready_until)
        if until > engine.looked_s:
            seconds = until - engine.looked_s
            engine.idle_s += (self.slots - engine.busy) * seconds
            engine.life_s += self.slots * seconds
        engine.looked_s = self.now


def deep_bytes(root: object) -> int:
    """What an object and all that hangs on it take, shared parts once."""
    seen: set[int] = set()
    found = 0
    stack = [root]
    while stack:
        value = stack.pop()
        if id(value) in seen or isinstance(value, type) or callable(value):
            continue
        seen.add(id(value))
        found += sys.getsizeof(value)
        if isinstance(value, dict):
            stack += value.keys()
            stack += value.values()
        elif isinstance(value, list | tuple | set | frozenset | deque):
            stack += value
        if hasattr(value, "__dict__"):
            stack += vars(value).values()
        for kind in type(value).__mro__:
            stack += [getattr(value, name) for name in getattr(kind, "__slots__", ()) if hasattr(value, name)]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Ten thousand engines on a virtual clock.")
    parser.add_argument("--quick", action="store_true", help="a hundredth of it")
    parser.add_argument("--engines", type=int, default=0)
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--slots", type=int, default=100)
    parser.add_argument(
        "--message-us", type=float, default=0.0, help="what a message costs the driver, in virtual time"
    )
    options = parser.parse_args()
    engines = options.engines or (100 if options.quick else 10_000)
    tasks = options.tasks or (50_000 if options.quick else 5_000_000)
    print(
        f"{engines} engines of {options.slots} slots, {tasks} tasks of 1 to 100 s, {FAILING:.0%} of engines die"
    )
    began = time.perf_counter()
    simulation = Simulation(engines, options.slots, tasks, options.message_us / 1e6, 1)
    sizes: list[int] = []
    simulation.at(JOIN_S + 5.0, lambda _: sizes.append(deep_bytes(simulation.driver)), None)
    simulation.run()
    seconds = time.perf_counter() - began
    assert bytes(simulation.recorded) == b"\1" * tasks, "not every task has one line"
    whole = [*simulation.engines.values()]
    share = sum(e.idle_s for e in whole) / sum(e.life_s for e in whole)
    verdict = "reached" if share < WANTED_IDLE else "NOT REACHED"
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"virtual time {simulation.now:.0f} s; {simulation.lost} engines died; every task has one line")
    print(f"idle slot time while tasks waited: {share:.3%} (wanted < {WANTED_IDLE:.1%}: {verdict})")
    print(
        f"driver core, all slots busy: {sizes[0] / 1e6:.0f} MB = {sizes[0] / engines / options.slots:.0f} bytes a slot"
    )
    print(
        f"simulator: {simulation.events} events in {seconds:.0f} s, {simulation.events / seconds:.0f} a second; {peak_mb:.0f} MB in all"
    )
    return 0 if share < WANTED_IDLE else 1


if __name__ == "__main__":
    sys.exit(main())
