"""What is done to a simulated run. Not in here is what no program could survive (docs/reliability.md says what that is)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from disbatch.core.driver_events import Ending, JoinCame, SignalCame
from disbatch.core.joining import Order

if TYPE_CHECKING:
    from faulthouse import FaultHouse
    from faultnode import Node

LABEL = "SIM"  # of the driver's own context
MAX_NODES = 20  # more only beat their hearts


def break_connection(house: "FaultHouse", node: "Node", seconds: float) -> None:
    node.lose_connection()


def cut(house: "FaultHouse", node: "Node", seconds: float) -> None:
    if not node.nobody_watches and max(node.frozen_until, node.guard_frozen_until) <= house.world.now:
        node.cut(seconds)


def kill_engine(house: "FaultHouse", node: "Node", seconds: float) -> None:
    if (node.guard_up and node.guard_frozen_until <= house.world.now) or node.reachable:
        node.engine_dies()


def kill_guard(house: "FaultHouse", node: "Node", seconds: float) -> None:
    if (node.engine_up and node.frozen_until <= house.world.now) or node.reachable:
        node.guard_dies()


def kill_both(house: "FaultHouse", node: "Node", seconds: float) -> None:
    if node.reachable:
        node.guard_dies()
        node.engine_dies()


def kill_launcher(house: "FaultHouse", node: "Node", seconds: float) -> None:
    if not node.site or not node.nobody_watches:
        node.launcher_dies()


def kill_context(house: "FaultHouse", node: "Node", seconds: float) -> None:
    if node.site and not any(each.nobody_watches for each in node.site.nodes if not each.gone):
        node.site.dies()


def stop_engine(house: "FaultHouse", node: "Node", seconds: float) -> None:
    """Somebody wants it to end."""
    order = Order("engine", str(node.rank), "somebody", house.world.chance(0.3))
    house.driver.happens(JoinCame(order))


def stop_context(house: "FaultHouse", node: "Node", seconds: float) -> None:
    label = node.site.cid if node.site else LABEL
    house.driver.happens(JoinCame(Order("context", label, "somebody", house.world.chance(0.3))))


def signal_driver(house: "FaultHouse", node: "Node", seconds: float) -> None:
    ending = house.world.random.choice((Ending.SIGINT, Ending.SIGTERM))
    house.driver.happens(SignalCame(ending))


def lose_way(house: "FaultHouse", node: "Node", seconds: float) -> None:
    """The network to a node fails, and its ssh gives up over it."""
    if not node.nobody_watches and max(node.frozen_until, node.guard_frozen_until) <= house.world.now:
        node.cut(seconds)
        node.launcher_dies()


def freeze_engine(house: "FaultHouse", node: "Node", seconds: float) -> None:
    if node.reachable or (node.guard_up and node.guard_frozen_until <= house.world.now):
        node.freeze(seconds)


def freeze_guard(house: "FaultHouse", node: "Node", seconds: float) -> None:
    if node.reachable or (node.engine_up and node.frozen_until <= house.world.now):
        node.freeze_guard(seconds)


def freeze_both(house: "FaultHouse", node: "Node", seconds: float) -> None:
    if node.reachable:
        node.freeze(seconds)
        node.freeze_guard(seconds)


def terminate(house: "FaultHouse", node: "Node", seconds: float) -> None:
    if house.world.chance(0.3):
        node.terminate()


def join(house: "FaultHouse", node: "Node", seconds: float) -> None:
    few = len(house.driver.nodes) < MAX_NODES
    if few and house.driver.frozen_until <= house.world.now:  # it is the driver that gives ranks
        if house.plan.reattach:
            house.driver.invite()
        else:
            house.driver.launch(house.driver.core.fleet.next_rank)


def fill_disk(house: "FaultHouse", node: "Node", seconds: float) -> None:
    driver, world = house.driver, house.world
    driver.disk_full_until = world.now + seconds
    if world.chance(0.1):
        world.later(world.random.uniform(0.0, seconds), driver.give_up_disk)


def freeze_driver(house: "FaultHouse", node: "Node", seconds: float) -> None:
    house.driver.freeze(seconds)


def kill_driver(house: "FaultHouse", node: "Node", seconds: float) -> None:
    house.driver.die()
    house._died_at = house.world.now


Fault = Callable[["FaultHouse", "Node", float], None]
FAULTS: list[Fault] = [
    break_connection,
    break_connection,
    break_connection,
    cut,
    cut,
    kill_engine,
    kill_guard,
    kill_both,
    kill_launcher,
    kill_context,
    stop_engine,
    stop_context,
    signal_driver,
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
# what is done to machines, whether there is a driver or not
TO_NODES = (
    break_connection,
    cut,
    kill_engine,
    kill_guard,
    kill_both,
    kill_launcher,
    kill_context,
    lose_way,
    freeze_engine,
    freeze_guard,
    freeze_both,
    terminate,
)
