"""Rules about what a driver and its engines say to each other, which no fault may break. `faultworld` has those about tasks."""

from collections import Counter
from typing import TYPE_CHECKING

from faultworld import Broken

from disbatch.core.intake import LOOKAHEAD
from disbatch.core.messages import Down, Report

if TYPE_CHECKING:
    from faultdriver import DriverLife
    from faultnode import Node

MAX_UNREAD = 4_000  # messages in all mailboxes that nobody reads any more
MAX_REPORTS = 400  # of one engine, not acknowledged
MAX_ASKED = 5  # how often an engine may be asked for one attempt on one connection
QUIET_LEASES = 3.0  # after the last fault: whoever is connected is answered from then on


def acknowledged(node: "Node", reports: list[Report]) -> None:
    """An engine may forget these: what ended is on disk. Raises Broken where it is nowhere."""
    driver, world = node.driver, node.world
    if driver.disk_given_up:
        return
    for report in reports:
        on_file = report.task_id in world.done or report.task_id in world.given_up_here
        if report.kind == "T" and not on_file and not (driver.plan.quarantine and report.outcome.returncode):
            raise Broken(
                f"task {report.task_id} has ended on engine {node.rank}: acknowledged, and not recorded"
            )


def answered(node: "Node") -> None:
    """Who is connected to a driver is answered, once nothing disturbs it any more."""
    driver, now = node.driver, node.world.now
    lease_s = driver.plan.lease_s
    quiet = driver.plan.faults_s + QUIET_LEASES * lease_s
    connected = node.connection is not None and node.launcher_up and driver.alive and driver.ending is None
    if connected and now - max(quiet, driver.began_at, node.answered_at) > QUIET_LEASES * lease_s:
        raise Broken(f"engine {node.rank} is connected, and nobody has answered since {node.answered_at:.3f}")


class Talk:
    """What one driver has said. `asked` by session, connection and attempt."""

    def __init__(self) -> None:
        self._asked: Counter[tuple[str, int, tuple[int, int]]] = Counter()

    def down(self, message: Down) -> None:
        for held in message.recall:
            key = message.sid, message.ep, held
            self._asked[key] += 1
            if self._asked[key] > MAX_ASKED:
                raise Broken(f"{message.sid} is asked for task {held[0]} again and again")


def bounded(driver: "DriverLife") -> None:
    """No queue grows without bound."""
    if sum(driver.unread.values()) > MAX_UNREAD:
        raise Broken("mailboxes that nobody reads fill up")
    for node in driver.nodes.values():
        if len(node.core._reports) > MAX_REPORTS:
            raise Broken(f"engine {node.rank} keeps {len(node.core._reports)} reports")
    core, engines = driver.core, driver.core.fleet.engines.values()
    held = sum(max(e.demand, len(e.held) + e.unwritten) for e in engines)
    most = driver.house.most_held = max(driver.house.most_held, held)
    waiting = sum(len(record.rows) for _, record in driver.on_disk)
    if waiting > driver.plan.most_waiting + LOOKAHEAD + most:
        raise Broken(f"{waiting} rows wait for the disk")
    # a claim of an engine that was lost since, or that says something else, stays until its task is read
    if len(core._takeover._claims) > 2 * most:
        raise Broken(
            f"{len(core._takeover._claims)} claims wait for the list; engines never held more than {most}"
        )
    for engine, reports in core._takeover._reports.values():
        if len({report.n for report in reports}) < len(reports):
            raise Broken(f"reports of engine {engine.rank} wait for the list twice")
