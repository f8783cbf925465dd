"""What a task, or a driver on the same machine, does to an engine of the simulation."""

from typing import TYPE_CHECKING

from faultworld import Process

from disbatch.core.engine_events import DriverStands, TermCame

if TYPE_CHECKING:
    from faultnode import Node


def look_at_driver(node: "Node") -> None:
    """As the shell does: an engine that the driver has started on its own machine sees whether that is stopped."""
    driver = node.driver
    if driver.plan.beside and driver.alive and driver.frozen_until > node.world.now:
        node.world.counts["driver stands"] += 1
        node.carry_out(node.core.handle(node.clock(), DriverStands()))


def kill_from_below(node: "Node", process: Process) -> None:
    """A task kills its engine, or sends it SIGTERM."""
    if process.alive:
        node.world.counts["killed by a task"] += 1
        task_id = process.job.task_id
        if task_id % 6 == 0:
            node.happens(TermCame(tasks=(task_id,)))
        else:
            node.engine_dies()
