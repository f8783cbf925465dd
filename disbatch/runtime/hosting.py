"""How the engines of a context get to their nodes: what each is told, and the command that starts it there.

The driver does this for its own context, a context process for one that joins a run; both know the run by its facts.
"""

import os
from collections.abc import Iterable
from dataclasses import asdict

from disbatch.core.model import NodeSpec
from disbatch.runtime.contextsettings import ContextSettings
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.files import engine_log
from disbatch.runtime.launches import LaunchOrder
from disbatch.runtime.remote import engine_argv
from disbatch.runtime.sweep import session_id


def node_name(context: ContextSettings, node: NodeSpec) -> str:
    """What the node is called in the status file: for this machine, its own name."""
    return os.uname().nodename if context.scheduler.is_local(node.name) else node.name


def launch_orders(
    facts: RunFacts,
    context: ContextSettings,
    label: str,
    nodes: Iterable[tuple[int, NodeSpec]],
    *,
    by_driver: bool,
) -> list[LaunchOrder]:
    """What starts the engines of these nodes, given with their ranks. `by_driver`: this process is the driver."""
    scheduler = context.scheduler
    environ = scheduler.launch_environ(os.environ, context.launcher_environ)
    orders = []
    for rank, node in nodes:
        name = node_name(context, node)
        order = {
            "facts": asdict(facts),
            "sid": os.urandom(8).hex(),
            "rank": rank,
            "node": name,
            "slots": node.slots,
            "cores_per_task": node.cores_per_task,
            "bind": node.bind,
            "gpus": node.gpus is not None,
            "log": engine_log(facts.prefix, name, label),
            "driver_pid": os.getpid() if by_driver and scheduler.is_local(node.name) else 0,
            "environ": scheduler.task_environ(os.environ, node),
            "environ_drops": scheduler.task_drops,
            "task_file": scheduler.task_file(os.environ, node),
        }
        argv = engine_argv(order)
        if not scheduler.is_local(node.name):
            argv = scheduler.launch_argv(node, facts.folder, argv)
        session = session_id(facts.did, str(order["sid"]))
        logs_in = scheduler.logs_in and not scheduler.is_local(node.name)
        orders.append(LaunchOrder(rank, name, node.slots, label, argv, environ, session, logs_in))
    return orders
