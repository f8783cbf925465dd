"""A context of the simulation: a process beside the driver that has brought some engines, starts and sweeps them."""

from typing import TYPE_CHECKING

from faultworld import World

if TYPE_CHECKING:
    from faultnode import Node

STAYS_S = 20.0  # after its last engine, to be asked for a sweep


class Site:
    """`limit` is of tasks, 0 for none."""

    def __init__(self, world: World, cid: str, limit: int) -> None:
        self.world = world
        self.cid = cid
        self.limit = limit
        self.up = True
        self.back = True  # it has spoken to the driver that there is
        self.nodes: list[Node] = []

    @property
    def running(self) -> "list[Node]":
        """Those whose engine's process has not ended, as far as this process can see."""
        return [node for node in self.nodes if node.launcher_up]

    def dies(self) -> None:
        """By SIGKILL, and with it what it has started its engines with."""
        self.up = False
        nodes = self.running
        for node in nodes:
            node.launcher_dies()
        driver = self.nodes[0].driver
        self.world.later(driver.delay(), lambda: driver.context_lost(self, "killed by SIGKILL"))

    def clean(self) -> bool:
        """Whether nothing of the engines that are gone can still run; it has them swept before it says no."""
        left = [node for node in self.nodes if not node.launcher_up and node.dirty]
        return all([self._sweeps(node) for node in left])

    def _sweeps(self, node: "Node") -> bool:
        must = node.nobody_watches
        return node.cut_until <= self.world.now and (must or self.world.chance(0.7)) and node.swept()
