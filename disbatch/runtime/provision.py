"""What an engine gives to its slots: CPUs, GPUs, and with them how many slots there are. Settled before it signs in."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass

from disbatch.core.binding import BindRule
from disbatch.core.errors import MachineError
from disbatch.core.gpus import VARIABLES, divide
from disbatch.core.messages import Means
from disbatch.core.phases import EngineConfig
from disbatch.runtime.cpuclaim import CpuClaim
from disbatch.runtime.node import memory_kib


@dataclass(frozen=True, slots=True)
class Provision:
    """`environ` has the variables of each slot, or is empty. `cpus` holds its claim as long as it lives."""

    config: EngineConfig
    cpus: CpuClaim
    environ: tuple[Mapping[bytes, bytes], ...]


def provide(
    config: EngineConfig, bind: BindRule, *, gpus: bool, cores_per_task: int, environ: Mapping[str, str]
) -> Provision:
    """The configuration with as many slots as can be served. Raises MachineError when -g finds no GPU here."""
    slots, found = config.slots, -1
    shares: tuple[Mapping[str, str], ...] = ()
    if gpus:
        found, shares = divide(environ, slots)
        if not found:
            # two lines: of what an engine says that could not start, the driver shows the last one
            names = ", ".join(VARIABLES)
            raise MachineError(
                f"none of {names} names a device\n    -g was given, but {config.node} has no GPU"
            )
        slots = len(shares)
    means = Means(cores_per_task, len(os.sched_getaffinity(0)), memory_kib(), found)
    coded = tuple({k.encode(): os.fsencode(v) for k, v in share.items()} for share in shares)
    config = dataclasses.replace(config, slots=slots, means=means)
    return Provision(config, CpuClaim(bind, slots), coded)
