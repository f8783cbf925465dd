"""A whole run under faults, from one seed: drivers that die and are resumed, engines, networks and disks that fail.

    FaultHouse(seed).run()

raises `faultworld.Broken` when a rule is broken. Faults come for some time, then all heals, and the run has to end with
one line for each task. Every third seed goes for one weak spot (`faultprofiles.py`). Not in the plan is what no program
could survive: a node whose engine and guard are both dead or stopped and that cannot be reached by a sweep either
(docs/reliability.md says so).
"""

from faultdriver import DriverLife
from faultnode import Node
from faultplan import Plan
from faults import FAULTS, TO_NODES
from faultworld import Broken, World
from house import read_items

from disbatch.core.driver_events import Ending
from disbatch.core.lease import heartbeat_s, margin_s

MAX_DRIVERS = 400


class FaultHouse:
    def __init__(self, seed: int, *, calm: bool = False) -> None:
        self.seed = seed
        self.plan = Plan(seed, calm=calm)
        self.world = World(seed, read_items(self.plan.text))
        if self.plan.guilty_share:
            self.world.innocent = lambda task_id: not self.plan.guilty(task_id)
        self.drivers: list[DriverLife] = []
        self.most_held = 0  # by all engines of a driver, or wanted, or reported and not on disk
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
            self._check_end()
        except AssertionError as error:
            raise Broken(f"seed {self.seed} at {self.world.now:.4f} s: {error}") from error
        finally:
            self.close()
        return self.world

    def close(self) -> None:
        for driver in self.drivers:
            driver.status.close()

    def _check_end(self) -> None:
        """The run is complete, or has ended at a barrier that checks."""
        world = self.world
        expected = world.tasks
        if self.driver.ending is Ending.CHECK:
            if world.closed_at is None:
                raise Broken("a BARRIER CHECK has ended the run, and nothing has failed")
            expected = {task_id for task_id in expected if task_id < world.closed_at}
        elif world.closed_at is not None:
            raise Broken("the run is complete, though a BARRIER CHECK had to end it")
        if world.done | world.given_up != expected:
            raise Broken("the run is over, and tasks have no line")
        self.driver.status.check_final(expected)

    def _finished(self) -> bool:
        """The run is complete and nobody is left; or the driver is gone and another one begins when that is safe."""
        driver = self.driver
        if driver.alive and driver.ending is None:
            return False
        if driver.ending in (Ending.COMPLETE, Ending.CHECK):
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
        if self.plan.stalls and self.world.chance(0.7):
            driver, chance = self.driver, self.world.random
            seconds = self.plan.lease_s * chance.choice((0.9, 1.0, 1.2))
            self.world.later(chance.uniform(0.0, 1.5), lambda: driver.freeze(seconds))

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
        last = self.drivers[-1] if self.drivers else None
        if last:
            last.status.close()
        if last and not before:
            self.world.new_run()
        earlier = before.status.earlier if before else last.status.all_text if last else b""
        self.drivers.append(DriverLife(self, len(self.drivers), earlier, before))
        self.world.note(f"driver {len(self.drivers) - 1} begins")
        self.driver.begin()

    # -- faults

    def _fault(self) -> None:
        world = self.world
        if world.now > self.plan.faults_s:
            return
        works = self.driver.alive and self.driver.ending is None
        if works or (self.plan.between and self._restarting):
            kinds = [FAULTS[kind] for kind in self.plan.faults]
            fault = world.random.choice([kind for kind in kinds if works or kind in TO_NODES])
            nodes = [node for node in self.driver.nodes.values() if node.engine_up or node.guard_up]
            if nodes:
                node = world.random.choice(nodes)
                seconds = self.plan.lease_s * world.random.choice(self.plan.shares)
                world.note(f"{fault.__name__} engine {node.rank} {seconds:.2f}")
                world.counts[fault.__name__] += 1
                fault(self, node, seconds)
        world.later(world.random.expovariate(1 / self.plan.pause_s), self._fault)
