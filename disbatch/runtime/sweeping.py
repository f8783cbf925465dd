"""Sweeps of nodes, by whoever started the engines there: the driver for its own, a context process for its.

A node is reached as its engine was: directly, by ssh, by srun. What is killed there is in `runtime.sweep`.
"""

import asyncio
import contextlib
import os

from disbatch.core.model import NodeSpec
from disbatch.runtime.contextsettings import ContextSettings
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.remote import program_root
from disbatch.runtime.shortage import shortage
from disbatch.runtime.sweep import sweep, sweep_argv

SWEEP_S = 10.0  # a node that has not answered by then is not there; with a short lease, after a quarter of it
SWEEP_MIN_S = 2.0


async def sweep_node(facts: RunFacts, context: ContextSettings, node: NodeSpec, session: str) -> bool:
    """Kills what is left of an engine. True once nothing is; false when the node could not be asked."""
    if context.scheduler.is_local(node.name):
        try:
            return await asyncio.to_thread(sweep, session)
        except RuntimeError as error:
            if not shortage(error):
                raise
            return False
    argv = context.scheduler.launch_argv(node, facts.folder, sweep_argv(session, program_root()))
    environ = context.scheduler.launch_environ(os.environ, context.launcher_environ)
    nothing = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            *argv, env=environ, stdin=nothing, stdout=nothing, stderr=nothing, start_new_session=True
        )
    except OSError:
        return False
    try:
        seconds = min(SWEEP_S, max(SWEEP_MIN_S, facts.lease_s / 4))
        return await asyncio.wait_for(process.wait(), seconds) == 0
    except TimeoutError:
        return False
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
