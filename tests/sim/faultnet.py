"""The connection of an engine of the simulation to its driver."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faultnode import Node


class Connection:
    """Messages arrive in order, until it breaks; of what is under way then, some of the front may still arrive."""

    def __init__(self, node: "Node", sid: str, ep: int) -> None:
        self.node = node
        self.key = (sid, ep)
        self.broken = False
        self._last = {"up": 0.0, "down": 0.0}
        self._until = {"up": 1e18, "down": 1e18}  # what would arrive later is lost

    def carry(self, way: str, action: Callable[[], None]) -> None:
        world, node = self.node.world, self.node
        if self.broken:
            return
        at = max(self._last[way], world.now + node.driver.delay(), node.cut_until + 0.001)
        self._last[way] = at
        world.at(at, lambda: self._arrive(way, at, action))
        if world.chance(node.driver.plan.repeats):
            again = at + world.random.uniform(0.0, node.driver.plan.lease_s)
            world.at(again, lambda: self._arrive(way, again, action))

    def _arrive(self, way: str, at: float, action: Callable[[], None]) -> None:
        if at <= self._until[way]:
            action()

    def still_s(self, way: str) -> float:
        """Until everything that was sent has arrived."""
        return max(0.0, self._last[way] - self.node.world.now)

    def break_(self) -> None:
        if not self.broken:
            self.broken = True
            world = self.node.world
            for way in self._until:
                self._until[way] = world.now + world.random.choice((0.0, 0.0, 0.01, 0.3, 5.0))
