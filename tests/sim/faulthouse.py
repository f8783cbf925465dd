"""A whole run under faults, from one seed: drivers that die and are resumed, engines, networks and disks that fail.

    FaultHouse(seed).run()

raises `faultworld.Broken` when a rule is broken. Faults come for some time, then all heals, and the run has to end with
one line for each task. Not in the plan is what no program could survive: a node whose engine and guard are both dead or
stopped and that cannot be reached by a sweep either (docs/reliability.md says so).
"""

import random
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from faultnode import Connection, Node
from faultworld import EPOCH_S, Broken, World
from house import read_items

from disbatch.core.driver import DriverConfig, DriverCore
from disbatch.core.driver_events import (
    ContextLost,
    Dismiss,
    Ending,
    EngineExited,
    EngineLaunched,
    Event,
    Forget,
    Instant,
    ItemsCame,
    JoinCame,
    LaunchAgain,
    ListEnded,
    MessageCame,
    Over,
    Record,
    Reply,
    Send,
    Sweep,
    Swept,
    Tick,
    Written,
)
from disbatch.core.engine_events import Job
from disbatch.core.joining import Join, ProcessGone, Rejoin, Welcome
from disbatch.core.lease import heartbeat_s, margin_s, tick_s
from disbatch.core.losses import LossPolicy
from disbatch.core.membership import CONTEXT_KEY
from disbatch.core.messages import Die, Down, Hello, Up
from disbatch.core.model import Item, Task
from disbatch.core.resume import Place, Verdict
from disbatch.core.status import StatusRecord
from disbatch.core.takeover import Inheritance

MAX_DRIVERS = 400
MAX_INVITED = 200  # where all have gone, more are invited
MAX_NODES = 20  # more only beat their hearts
MAX_UNREAD = 4_000  # messages in all mailboxes that nobody reads any more
MAX_REPORTS = 400  # of one engine, not acknowledged


class Plan:
    """What chance decides once for a run: its list, lease, pace and faults."""

    def __init__(self, seed: int, *, calm: bool = False) -> None:
        chance = random.Random(seed ^ 0x5EED)
        self.lease_s = chance.choice((2.0, 2.0, 4.0, 10.0))
        self.mean_s = chance.choice((0.01, 0.3, 1.0, 3.0))
        self.engines = chance.randint(1, 4)
        self.policy = LossPolicy(
            self.lease_s, chance.choice(("rerun",) * 5 + ("fail",)), chance.choice((1, 3, 50))
        )
        self.repeats = chance.choice((0.0, 0.0, 0.05))
        self.slow = chance.choice((0.0, 0.02, 0.1, 0.3))  # of messages that are late by seconds
        self.faults_s = 0.0 if calm else chance.choice((8.0, 20.0))
        self.pause_s = chance.choice((0.1, 0.3, 1.0, 4.0))  # between faults
        # a few kinds at a time find more than all of them at once, of which some hide what others do
        kinds = chance.choice((1, 2, 3, len(FAULTS)))
        self.faults = sorted(chance.sample(range(len(FAULTS)), kinds))
        self.text = _a_list(chance)
        # a run whose engines were brought by contexts, and whose driver is started again beside them when it dies
        self.reattach = chance.random() < 0.4
        self.limit = chance.choice((0, 0, 3, 8))  # of tasks of such a context
        if self.reattach and self.faults_s and chance.random() < 0.7:
            self.faults = sorted({*self.faults, FAULTS.index(kill_driver)})

    def code(self, job: Job) -> int:
        return 1 if job.kind == "T" and job.command.endswith(b"7") else 0

    def duration(self, chance: random.Random) -> float:
        return chance.choice((0.0, 0.5, 1.0, chance.expovariate(1.0))) * self.mean_s


def _a_list(chance: random.Random) -> bytes:
    lines = [b"#DISBATCH PERENGINE START up"] * chance.choice((0, 0, 1))
    lines += [b"#DISBATCH PERENGINE STOP down"] * chance.choice((0, 0, 1))
    for number in range(chance.randint(1, 40)):
        what = chance.random()
        if what < 0.06:
            lines.append(b"#DISBATCH BARRIER")
        elif what < 0.09:
            lines.append(b"#DISBATCH REPEAT %d r%d" % (chance.randint(0, 30), number))
        else:
            lines.append(b"t%d" % number)
    return b"\n".join(lines)


class DriverLife:
    """One driver process with its KVS server, disk and engines, from its start to its end or death."""

    def __init__(self, house: "FaultHouse", number: int, before: "DriverLife | None" = None) -> None:
        self.house = house
        self.world = house.world
        self.plan = house.plan
        self.did = f"d{number}"
        config = DriverConfig(
            self.did,
            "driver",
            1,
            False,
            waits=self.plan.reattach,
            losses=self.plan.policy,
            inheritance=self._inheritance(before) if before else None,
        )
        self.core = DriverCore(config, self._judge)
        self.takes_over = before
        self.alive = True
        self.ending: Ending | None = None
        self.nodes: dict[int, Node] = {}
        self.connections: dict[tuple[str, int], Connection] = {}
        self.unread: dict[tuple[str, int], int] = {}
        self.frozen_until = 0.0
        self.disk_full_until = 0.0
        self._inbox: list[Event] = []
        self._to_read: Iterator[Item] = iter(house.world.items)
        self._feeding = False
        self._disk_at = 0.0
        self._known: dict[str, float] = {}  # by session: the engine's time as last heard
        self._on_disk: list[tuple[float, Record]] = []  # under way, in order
        # rows of what an earlier driver has recorded are there already
        self._before = set(house.world.done)
        self._given_up = set(house.world.given_up) if before else set()

    def _inheritance(self, before: "DriverLife") -> Inheritance:
        """What the files of the driver before say. Rows of commands are told apart by their process."""
        world = self.world
        rows = frozenset((row.node, row.pid) for row in world.file if row.flags[3] == "P")
        core = before.core
        return Inheritance(core.fleet.next_rank, core.contexts_left, frozenset(world.met), rows)

    def _judge(self, task: Task) -> tuple[Verdict, Place | None]:
        if task.task_id in self._before:
            return Verdict.SKIP_DONE, None if self.takes_over else Place(0, task.task_id)
        if task.task_id in self._given_up:  # by the same run: that is its fate
            return Verdict.SKIP_FAILED, None
        return Verdict.RUN, None

    def delay(self) -> float:
        chance = self.world.random
        if self.world.now < self.plan.faults_s and chance.random() < self.plan.slow:
            return chance.uniform(0.0, 1.5 * self.plan.lease_s)
        return chance.choice((0.0, 0.0001, 0.001, chance.expovariate(100.0)))

    # -- its life

    def begin(self) -> None:
        if self.takes_over:
            self._take_over(self.takes_over)
        elif self.plan.reattach:
            for _ in range(self.plan.engines):
                self.invite()
        else:
            for rank in range(self.plan.engines):
                self.launch(rank)
        self._tick()
        self._feed_soon()

    def _take_over(self, before: "DriverLife") -> None:
        """Engines of contexts find the new driver by themselves; so do the contexts, sooner or later."""
        for rank, node in before.nodes.items():
            if node.cid:
                self.nodes[rank] = node
                node.driver = self
                if node.context_up:
                    self.world.later(self.delay() + self.world.random.uniform(0.0, 2.0), self._back(node))

    def _back(self, node: Node) -> Callable[[], None]:
        def come() -> None:
            if not self.alive or node.driver is not self or not node.context_up:
                return
            rows, clean = [(node.rank, node.name, node.slots, False)], True
            if not node.launcher_up:  # such a context may as well have ended
                rows, clean = [], not node.dirty or (node.reachable and node.swept())
            self.happens(JoinCame(Rejoin(node.cid, node.cid, self.plan.limit, tuple(rows), "sim", clean)))

        return come

    def invite(self) -> None:
        """A context with one engine joins."""
        name = f"node{self.core.fleet.next_rank}"
        slots = self.world.random.choice((1, 1, 2, 4))
        join = Join(f"c{name}", f"c{name}", False, self.plan.limit, ((name, slots, False),), "sim")
        self.happens(JoinCame(join))

    def _reply(self, effect: Reply) -> None:
        message, cid = effect.message, effect.key.removeprefix(CONTEXT_KEY)
        if isinstance(message, Welcome) and message.ranks and message.ranks[0] not in self.nodes:
            (rank,) = message.ranks
            expected = self.core.fleet.engines[rank]
            node = self.nodes[rank] = Node(self.world, self, rank, expected.node, expected.slots, cid)
            self.world.later(self.delay(), node.begin)

    def launch(self, rank: int) -> None:
        node = Node(self.world, self, rank, f"node{rank}", self.world.random.choice((1, 1, 2, 4)))
        self.nodes[rank] = node
        self.happens(EngineLaunched(rank, node.name, node.slots, "SIM"))
        self.world.later(self.delay(), node.begin)

    def _tick(self) -> None:
        if self.alive and self.ending is None:
            self.happens(Tick())
            if self.plan.reattach and self.core.fleet.deserted and len(self.nodes) < MAX_INVITED:
                self.invite()
            self.world.later(tick_s(self.plan.lease_s), self._tick)

    def freeze(self, seconds: float) -> None:
        self.frozen_until = max(self.frozen_until, self.world.now + seconds)
        self.world.later(self.frozen_until - self.world.now, self._thaw)

    def _thaw(self) -> None:
        """Everything is there at once: in the order in which it came, or the clock first."""
        if self.frozen_until > self.world.now:
            return
        inbox, self._inbox = self._inbox, []
        if self.world.chance(0.5):
            inbox.sort(key=lambda event: not isinstance(event, Tick))
        for event in inbox:
            self.happens(event)

    def die(self) -> None:
        """SIGKILL. What was on its way to the disk may be there, or not, or some of its lines."""
        self.alive = False
        for at, record in self._on_disk:
            rows = [row for row in record.rows if isinstance(row, StatusRecord)]
            if at <= self.world.now:
                continue
            if self.disk_full_until > self.world.now:
                break
            share = self.world.random.choice((0.0, 0.5, 1.0))
            for row in rows[: int(len(rows) * share)]:
                self.world.write(row)
            if share < 1.0:
                break
        for node in self.nodes.values():
            node.lose_connection()
            if node.launcher_up and not node.cid:  # its end closes the lifelines that reach their engines
                node.launcher_dies()

    # -- what happens to it

    def happens(self, event: Event) -> None:
        if not self.alive or self.core.over:
            return
        if self.frozen_until > self.world.now:
            self._inbox.append(event)
            return
        now = self.world.now
        for effect in self.core.handle(Instant(now + 5e5, EPOCH_S + now), event):
            carrier = _CARRIERS.get(type(effect))
            if carrier is not None:
                carrier(self, effect)
        self._check()
        self._feed_soon()

    def message_came(self, message: Hello | Up) -> None:
        if self.alive:
            self.happens(MessageCame(message))

    def exited(self, rank: int, why: str) -> None:
        """The process that was started for an engine is gone."""
        cid = self.nodes[rank].cid
        if cid:
            self.happens(JoinCame(ProcessGone(cid, rank, why)))
            # it stays for a while, to be asked for a sweep
            self.world.later(20.0, lambda: self.happens(ContextLost(cid, "it had no other engine")))
        else:
            self.happens(EngineExited(rank, why))

    def launcher_died(self, rank: int, why: str) -> None:
        cid = self.nodes[rank].cid
        self.happens(ContextLost(cid, why) if cid else EngineExited(rank, why))

    def _feed_soon(self) -> None:
        if self.core.wants and not self._feeding:
            self._feeding = True
            self.world.later(self.world.random.choice((0.0, 0.001)), self._feed)

    def _feed(self) -> None:
        self._feeding = False
        if self.alive and self.frozen_until > self.world.now:
            self._feeding = True
            self.world.later(self.frozen_until - self.world.now, self._feed)
        elif self.alive and self.core.wants:
            items = list(islice(self._to_read, self.world.random.randint(1, self.core.wants)))
            self.happens(ItemsCame(items) if items else ListEnded())

    # -- what it does

    def _send(self, effect: Send) -> None:
        self._put(effect.message, effect.message.sid, effect.message.ep)

    def _dismiss(self, effect: Dismiss) -> None:
        self._put(Die(effect.sid), effect.sid, effect.ep)

    def _put(self, message: Down | Die, sid: str, ep: int) -> None:
        connection = self.connections.get((sid, ep))
        if connection is None:
            self.unread[sid, ep] = self.unread.get((sid, ep), 0) + 1
        else:
            node = connection.node
            connection.carry("down", lambda: node.down_came(message))

    def _forget(self, effect: Forget) -> None:
        self.unread.pop((effect.sid, effect.ep), None)

    def _record(self, effect: Record) -> None:
        wait_s = self.delay() + max(0.0, self.disk_full_until - self.world.now)
        at = self._disk_at = max(self._disk_at, self.world.now + wait_s)
        self._on_disk.append((at, effect))
        self.world.at(at, self._write)

    def _write(self) -> None:
        if not self.alive:
            return
        if self.disk_full_until > self.world.now:
            self.world.later(self.disk_full_until - self.world.now, self._write)
            return
        while self._on_disk and self._on_disk[0][0] <= self.world.now:
            _, record = self._on_disk.pop(0)
            for row in record.rows:
                if isinstance(row, StatusRecord):
                    self.world.write(row)
            self.happens(Written(record.batch))

    def _sweep(self, effect: Sweep) -> None:
        node, world = self.nodes[effect.rank], self.world
        if not node.context_up:
            return  # nobody answers
        fails = world.chance(0.25) and not node.nobody_watches

        def arrive() -> None:
            if node.cut_until > world.now or (fails and not node.nobody_watches):
                if world.chance(0.3) and node.cut_until <= world.now:
                    node.swept()  # done, and the answer is lost
                world.later(
                    world.random.uniform(0.0, 2.0),
                    lambda: self.happens(Swept(effect.sid, False, effect.rank)),
                )
            else:
                node.swept()
                world.later(
                    world.random.uniform(0.0, 0.1), lambda: self.happens(Swept(effect.sid, True, effect.rank))
                )

        world.later(world.random.uniform(0.01, 0.5), arrive)

    def _launch_again(self, effect: LaunchAgain) -> None:
        before = self.nodes[effect.like]
        node = Node(self.world, self, effect.rank, before.name, before.slots)
        node.cut_until = before.cut_until
        self.nodes[effect.rank] = node
        if node.cut_until > self.world.now or self.world.chance(0.1):
            node.engine_up = node.guard_up = node.launcher_up = False
            self.world.later(0.5, lambda: self.exited(effect.rank, "no answer"))
        else:
            self.world.later(self.delay() + 0.1, node.begin)

    def _over(self, effect: Over) -> None:
        if self.ending is not None:
            raise Broken("over twice")
        self.ending = effect.ending
        for node in self.nodes.values():
            node.launcher_dies()
        self.world.note(f"{self.did} ends: {effect.ending.name}")

    # -- checks

    def _check(self) -> None:
        ledger = self.core.ledger
        ledger.check_invariants()
        for engine in self.core.fleet.by_sid.values():
            if engine.echo < self._known.get(engine.sid, 0.0):
                raise Broken(f"engine {engine.rank}: what is known of it goes back in time")
            self._known[engine.sid] = engine.echo
        for engine in self.core.fleet.engines.values():
            if engine.acked > engine.seen:
                raise Broken(f"engine {engine.rank}: acknowledged what was not seen")
            for task_id, attempt in engine.held.items():
                if task_id in self.core._takeover._claims:
                    continue  # of a driver before, and not read yet
                entry = ledger.entries[task_id]
                if entry.engine != engine.sid or entry.attempt != attempt:
                    raise Broken(f"task {task_id} is held by {engine.sid} and by {entry.engine}")
        if sum(self.unread.values()) > MAX_UNREAD:
            raise Broken("mailboxes that nobody reads fill up")
        for node in self.nodes.values():
            if len(node.core._reports) > MAX_REPORTS:
                raise Broken(f"engine {node.rank} keeps {len(node.core._reports)} reports")


_CARRIERS: dict[type, Callable[[DriverLife, Any], None]] = {
    Send: DriverLife._send,
    Dismiss: DriverLife._dismiss,
    Forget: DriverLife._forget,
    Record: DriverLife._record,
    Sweep: DriverLife._sweep,
    LaunchAgain: DriverLife._launch_again,
    Over: DriverLife._over,
    Reply: DriverLife._reply,
}


class FaultHouse:
    def __init__(self, seed: int, *, calm: bool = False) -> None:
        self.seed = seed
        self.plan = Plan(seed, calm=calm)
        self.world = World(seed, read_items(self.plan.text))
        self.drivers: list[DriverLife] = []
        self._died_at = 0.0
        self._restarting = False
        self._asked: dict[Node, bool] = {}  # of a crashed run: whether a sweep of it gets through

    @property
    def driver(self) -> DriverLife:
        return self.drivers[-1]

    def run(self) -> World:
        """To the end. Raises Broken when a rule is broken."""
        try:
            self._start_driver()
            if self.plan.faults_s:
                self.world.later(self.world.random.expovariate(1 / self.plan.pause_s), self._fault)
            while not self._finished():
                self.world.step()
            if self.world.done | self.world.given_up != self.world.tasks:
                raise Broken("the run is complete, and tasks have no line")
        except AssertionError as error:
            raise Broken(f"seed {self.seed} at {self.world.now:.4f} s: {error}") from error
        return self.world

    def _finished(self) -> bool:
        """The run is complete and nobody is left; or the driver is gone and another one begins when that is safe."""
        driver = self.driver
        if driver.alive and driver.ending is None:
            return False
        if driver.ending is Ending.COMPLETE:
            return all(node.gone for node in driver.nodes.values())
        if driver.alive:
            driver.alive = False  # it ended, with tasks left
            self._died_at = self.world.now
        if self.plan.reattach and driver.ending is None:
            if not self._restarting:
                self._restarting = True
                wait_s = self.plan.lease_s * self.world.random.choice((0.01, 0.2, 0.7, 1.2, 2.5))
                self.world.later(wait_s, self._start_again)
            return False
        if self._nothing_left():
            self._start_driver()
        return False

    def _start_again(self) -> None:
        self._restarting = False
        self.world.counts["reattached"] += 1
        self._start_driver(self.driver)

    def _nothing_left(self) -> bool:
        """What a resumption does: it sweeps all nodes, and waits for the leases of those that it does not reach."""
        world = self.world
        unsure = False
        for node in self.driver.nodes.values():
            if node.gone:
                continue
            if node not in self._asked:
                self._asked[node] = node.nobody_watches or world.chance(0.6)
            if self._asked[node] and node.cut_until <= world.now:
                node.swept()
            else:
                unsure = True
        lease_s = self.plan.lease_s
        return not unsure or world.now - self._died_at >= lease_s + heartbeat_s(lease_s) + margin_s(lease_s)

    def _start_driver(self, before: DriverLife | None = None) -> None:
        if len(self.drivers) >= MAX_DRIVERS:
            raise Broken(f"{MAX_DRIVERS} drivers, and no end")
        self.drivers.append(DriverLife(self, len(self.drivers), before))
        self.world.note(f"driver {len(self.drivers) - 1} begins")
        self.driver.begin()

    # -- faults

    def _fault(self) -> None:
        world = self.world
        if world.now > self.plan.faults_s:
            return
        if self.driver.alive and self.driver.ending is None:
            fault = FAULTS[world.random.choice(self.plan.faults)]
            nodes = [node for node in self.driver.nodes.values() if node.engine_up or node.guard_up]
            if nodes:
                node = world.random.choice(nodes)
                seconds = self.plan.lease_s * world.random.choice((0.01, 0.1, 0.5, 1.0, 1.6))
                world.note(f"{fault.__name__} engine {node.rank} {seconds:.2f}")
                world.counts[fault.__name__] += 1
                fault(self, node, seconds)
        world.later(world.random.expovariate(1 / self.plan.pause_s), self._fault)


def break_connection(house: FaultHouse, node: Node, seconds: float) -> None:
    node.lose_connection()


def cut(house: FaultHouse, node: Node, seconds: float) -> None:
    if not node.nobody_watches and max(node.frozen_until, node.guard_frozen_until) <= house.world.now:
        node.cut(seconds)


def kill_engine(house: FaultHouse, node: Node, seconds: float) -> None:
    if (node.guard_up and node.guard_frozen_until <= house.world.now) or node.reachable:
        node.engine_dies()


def kill_guard(house: FaultHouse, node: Node, seconds: float) -> None:
    if (node.engine_up and node.frozen_until <= house.world.now) or node.reachable:
        node.guard_dies()


def kill_both(house: FaultHouse, node: Node, seconds: float) -> None:
    if node.reachable:
        node.guard_dies()
        node.engine_dies()


def kill_launcher(house: FaultHouse, node: Node, seconds: float) -> None:
    if not node.cid or not node.nobody_watches:
        node.launcher_dies()


def lose_way(house: FaultHouse, node: Node, seconds: float) -> None:
    """The network to a node fails, and its ssh gives up over it."""
    if not node.nobody_watches and max(node.frozen_until, node.guard_frozen_until) <= house.world.now:
        node.cut(seconds)
        node.launcher_dies()


def freeze_engine(house: FaultHouse, node: Node, seconds: float) -> None:
    if node.reachable or (node.guard_up and node.guard_frozen_until <= house.world.now):
        node.freeze(seconds)


def freeze_guard(house: FaultHouse, node: Node, seconds: float) -> None:
    if node.reachable or (node.engine_up and node.frozen_until <= house.world.now):
        node.freeze_guard(seconds)


def freeze_both(house: FaultHouse, node: Node, seconds: float) -> None:
    if node.reachable:
        node.freeze(seconds)
        node.freeze_guard(seconds)


def terminate(house: FaultHouse, node: Node, seconds: float) -> None:
    if house.world.chance(0.3):
        node.terminate()


def join(house: FaultHouse, node: Node, seconds: float) -> None:
    few = len(house.driver.nodes) < MAX_NODES
    if few and house.driver.frozen_until <= house.world.now:  # it is the driver that gives ranks
        if house.plan.reattach:
            house.driver.invite()
        else:
            house.driver.launch(house.driver.core.fleet.next_rank)


def fill_disk(house: FaultHouse, node: Node, seconds: float) -> None:
    house.driver.disk_full_until = house.world.now + seconds


def freeze_driver(house: FaultHouse, node: Node, seconds: float) -> None:
    house.driver.freeze(seconds)


def kill_driver(house: FaultHouse, node: Node, seconds: float) -> None:
    house.driver.die()
    house._died_at = house.world.now


FAULTS: list[Callable[[FaultHouse, Node, float], None]] = [
    break_connection,
    break_connection,
    break_connection,
    cut,
    cut,
    kill_engine,
    kill_guard,
    kill_both,
    kill_launcher,
    lose_way,
    freeze_engine,
    freeze_engine,
    freeze_guard,
    freeze_both,
    terminate,
    join,
    fill_disk,
    freeze_driver,
    kill_driver,
]
