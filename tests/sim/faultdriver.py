"""A driver process of the simulation, around the real core: its engines, contexts, mailboxes, disk and status file."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from faultdisk import StatusFile
from faultnet import Connection
from faultnode import Node
from faultrules import Talk, bounded
from faultsite import STAYS_S, Site
from faultworld import EPOCH_S, Broken

from disbatch.core.driver import DriverConfig, DriverCore
from disbatch.core.driver_events import (
    ContextLost,
    DiskGivenUp,
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
from disbatch.core.joining import Join, ProcessGone, Rejoin, Welcome
from disbatch.core.lease import tick_s
from disbatch.core.membership import CONTEXT_KEY
from disbatch.core.messages import Die, Down, Hello, Up
from disbatch.core.model import Item
from disbatch.core.takeover import Inheritance

if TYPE_CHECKING:
    from faulthouse import FaultHouse

MAX_INVITED = 200  # where all have gone, more are invited


class DriverLife:
    """One driver process with its KVS server, disk and engines, from its start to its end or death."""

    def __init__(self, house: "FaultHouse", number: int, earlier: bytes, before: "DriverLife | None") -> None:
        self.house = house
        self.world = house.world
        self.plan = house.plan
        self.did = f"d{number}"
        self.status = StatusFile(house.world, earlier, *before.status.own if before else (b"", b""))
        config = DriverConfig(
            self.did,
            "driver",
            1,
            False,
            waits=self.plan.reattach,
            losses=self.plan.policy,
            quarantine=self.plan.quarantine,
            inheritance=self._inheritance(before) if before else None,
            charges=self.plan.reattach,
        )
        self.core = DriverCore(config, self.status.reader.judge if before or number else None)
        self.core._recorder.most = self.plan.most_waiting
        self.takes_over = before
        self.alive = True
        self.began_at = house.world.now
        self._talk = Talk()
        self.ending: Ending | None = None
        self.nodes: dict[int, Node] = {}
        self.connections: dict[tuple[str, int], Connection] = {}
        self.unread: dict[tuple[str, int], int] = {}
        self.frozen_until = 0.0
        self.disk_full_until = 0.0
        self._inbox: list[Event] = []
        self._together: list[Event] = []  # messages that are read at once
        self._to_read: Iterator[Item] = iter(house.world.items)
        self._feeding = False
        self._disk_at = 0.0
        self._known: dict[str, float] = {}  # by session: the engine's time as last heard
        self.on_disk: list[tuple[float, Record]] = []  # under way, in order
        self.disk_given_up = False
        self.sites: dict[str, Site] = {}  # by id

    def _inheritance(self, before: "DriverLife") -> Inheritance:
        """What the files of the driver before say."""
        reader, core, ran = self.status.reader, before.core, self.status.charged()
        contexts = tuple([replace(each, ran=ran[each.cid]) for each in core.contexts_left])
        return Inheritance(
            core.fleet.next_rank, contexts, frozenset(reader.barriers), frozenset(reader.commands)
        )

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
            self.nodes[rank] = node
            node.driver = self
        self.sites = {cid: site for cid, site in before.sites.items() if site.nodes}
        for site in self.sites.values():
            site.back = False
            wait_s = self.delay() + self.world.random.uniform(0.0, 2.0)
            if any(node.nobody_watches and not node.gone for node in site.nodes):
                wait_s = min(wait_s, self.plan.lease_s / 2)  # nobody else can end what runs there
            self.world.later(wait_s, self._back(site))

    def _back(self, site: Site) -> Callable[[], None]:
        def come() -> None:
            if self.alive and site.nodes[0].driver is self and site.up:
                site.back = True
                clean = site.clean()
                rows = tuple([(node.rank, node.name, node.slots, False) for node in site.running])
                self.happens(JoinCame(Rejoin(site.cid, site.cid, site.limit, rows, "sim", clean)))

        return come

    def invite(self) -> None:
        """A context joins, with one engine or some."""
        chance, first = self.world.random, self.core.fleet.next_rank
        rows = [
            (f"node{rank}", chance.choice((1, 1, 2, 4)), False)
            for rank in range(first, first + chance.choice(self.plan.per_context))
        ]
        cid = f"{self.did}c{first}"
        self.sites.setdefault(cid, Site(self.world, cid, self.plan.limit))
        self.happens(JoinCame(Join(cid, cid, False, self.plan.limit, tuple(rows), "sim")))

    def _reply(self, effect: Reply) -> None:
        message, site = effect.message, self.sites.get(effect.key.removeprefix(CONTEXT_KEY))
        if site is None or not isinstance(message, Welcome) or site.nodes:
            return
        for rank in message.ranks:
            expected = self.core.fleet.engines[rank]
            node = self.nodes[rank] = Node(self.world, self, rank, expected.node, expected.slots, site)
            site.nodes.append(node)
            self.world.later(self.delay(), node.begin)

    def launch(self, rank: int) -> None:
        node = Node(self.world, self, rank, f"node{rank}", self.world.random.choice((1, 1, 2, 4)))
        self.nodes[rank] = node
        self.happens(EngineLaunched(rank, node.name, node.slots, "SIM", False, self.plan.beside))
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
        self._read_together()

    def die(self) -> None:
        """SIGKILL. What was on its way to the disk may be there, or not, or some of its lines and half of another."""
        self.alive = False
        chance = self.world.random
        for at, record in self.on_disk:
            if at <= self.world.now:
                continue
            full = self.disk_full_until > self.world.now
            share = 0.0 if full else chance.choice((0.0, 0.5, 1.0))
            there = int(len(record.rows) * share)
            self.status.charge(record.charges, whole=there > 0)
            for row in record.rows[:there]:
                self.status.write(row)
            if there < len(record.rows):
                self.status.tear(record.rows[there], chance)
                break
        self.status.close()
        for node in self.nodes.values():
            node.lose_connection()
            if node.launcher_up and not node.site:  # its end closes the lifelines that reach their engines
                node.launcher_dies()

    def give_up_disk(self) -> None:
        """It is full, and the run has to stop."""
        if self.alive and self.disk_full_until > self.world.now:
            self.disk_given_up = True
            self.on_disk.clear()
            self.happens(DiskGivenUp())

    # -- what happens to it

    def happens(self, *events: Event) -> None:
        """Behind all messages that have come before."""
        if not self.alive or self.core.over:
            return
        if self.frozen_until > self.world.now:
            self._inbox.extend(events)
            return
        now = self.world.now
        messages, self._together = self._together, []
        for effect in self.core.handle(Instant(now + 5e5, EPOCH_S + now), *messages, *events):
            carrier = _CARRIERS.get(type(effect))
            if carrier is not None:
                carrier(self, effect)
        self._check()
        self._feed_soon()

    def message_came(self, message: Hello | Up) -> None:
        if not self.alive or not self.plan.gather_s or self.frozen_until > self.world.now:
            self.happens(MessageCame(message))
            return
        if not self._together:
            self.world.later(self.plan.gather_s, self._read_together)
        self._together.append(MessageCame(message))

    def _read_together(self) -> None:
        if self._together:
            self.happens()

    def exited(self, rank: int, why: str) -> None:
        """The process that was started for an engine is gone."""
        site = self.nodes[rank].site
        if site is None:
            self.happens(EngineExited(rank, why))
        elif site.up and not self.alive:
            site.clean()  # nobody can order it
        elif site.up:
            self.happens(JoinCame(ProcessGone(site.cid, rank, why)))
            if not site.running:
                self.world.later(STAYS_S, lambda: self.context_lost(site, "it had no other engine"))

    def context_lost(self, site: Site, why: str) -> None:
        self.happens(ContextLost(site.cid, why))

    def _feed_soon(self) -> None:
        if self.core.wants and not self._feeding:
            self._feeding = True
            self.world.later(self.world.random.choice(self.plan.reading_s), self._feed)

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
        self._talk.down(effect.message)
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
        if self.disk_given_up:
            return
        wait_s = self.delay() + max(0.0, self.disk_full_until - self.world.now)
        at = self._disk_at = max(self._disk_at, self.world.now + wait_s)
        self.on_disk.append((at, effect))
        self.world.at(at, self._write)

    def _write(self) -> None:
        if not self.alive:
            return
        if self.disk_full_until > self.world.now:
            self.world.later(self.disk_full_until - self.world.now, self._write)
            return
        written = []
        while self.on_disk and self.on_disk[0][0] <= self.world.now:
            _, record = self.on_disk.pop(0)
            self.status.charge(record.charges)
            for row in record.rows:
                self.status.write(row)
            written.append(Written(record.batch))
        if written:
            self.happens(*written)

    def _sweep(self, effect: Sweep) -> None:
        node, world = self.nodes[effect.rank], self.world
        if not node.context_up or (node.site and node.driver is not self):
            return  # nobody answers
        fails = world.chance(self.plan.sweeps_fail) and not node.nobody_watches

        def arrive() -> None:
            if node.cut_until > world.now or (fails and not node.nobody_watches):
                if world.chance(0.3) and node.cut_until <= world.now:
                    node.swept()  # done, and the answer is lost
                node.in_vain = True
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
        bounded(self)


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
