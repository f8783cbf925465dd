"""An engine that was started by a command on some node: it reads the run's info file and serves until it is told to go.

The last argument, the order, is a JSON object without anything secret. Standard input is the lifeline:
when it ends, the driver, or the way to it, is gone.
"""

import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from disbatch.core.binding import BindRule
from disbatch.core.phases import EngineConfig
from disbatch.core.printable import printable
from disbatch.importpath import ROOT, arguments, bootstrap
from disbatch.runtime.engine import engine_process
from disbatch.runtime.enginestart import EngineStart
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.guard import run_guarded
from disbatch.runtime.sweep import process_name
from kvsstcp.errors import KvsError
from kvsstcp.infofile import Address, read_info


def engine_argv(order: Mapping[str, Any]) -> tuple[str, ...]:
    """The command that starts an engine on a node that sees this interpreter and this folder."""
    return (*bootstrap("engine"), *arguments(program_root()), json.dumps(dict(order)))


def program_root() -> str:
    """The folder that has the packages of this program, as all nodes see it."""
    return os.path.abspath(os.environ.get("DISBATCH_ROOT") or ROOT)


def main() -> int:
    order = json.loads(sys.argv[1])
    facts = RunFacts(**order["facts"])
    try:
        info = read_info(facts.info_path)
    except KvsError as error:
        print(printable(f"this node does not see the files of the run: {error}"), file=sys.stderr)
        return 3
    start = EngineStart(
        config=EngineConfig(
            order["sid"],
            order["rank"],
            order["node"],
            order["slots"],
            facts.grace_s,
            lease_s=facts.lease_s,
        ),
        facts=facts,
        addresses=(*_hinted(os.environ, info.port), *info.addresses),
        token=info.token,
        certificate=info.certificate_pem,
        lifeline_fd=0,
        log=order["log"],
        cores_per_task=order["cores_per_task"],
        environ=order["environ"],
        environ_drops=tuple(order["environ_drops"]),
        task_file=tuple(order["task_file"]),
        bind=BindRule(*order["bind"]),
        gpus=order["gpus"],
        driver_pid=order["driver_pid"],
    )
    code = run_guarded(partial(engine_process, start), process_name(start.session))
    return code if code >= 0 else 128 - code


def _hinted(environ: Mapping[str, str], port: int) -> tuple[Address, ...]:
    """The address from which ssh came, or srun: where the driver's name says something wrong, that one is right."""
    hosts = [*environ.get("SSH_CONNECTION", "").split()[:1], environ.get("SLURM_LAUNCH_NODE_IPADDR", "")]
    return tuple((host, port) for host in hosts if host)
