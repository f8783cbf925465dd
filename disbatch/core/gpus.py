"""Which GPUs each slot's tasks see: the variables that name those of the node, divided among the slots.

What the variables mean is set by CUDA (CUDA_VISIBLE_DEVICES), ROCm (GPU_DEVICE_ORDINAL, ROCR_VISIBLE_DEVICES) and Level Zero
(ZE_AFFINITY_MASK): a list of numbers or names with commas. Slurm sets all of them alike, whatever devices there are.
"""

from collections.abc import Mapping
from typing import NamedTuple

VARIABLES = ("CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")
_NONE = ("-1", "NoDevFiles", "none", "void")  # CUDA: a list ends before the first device that there is not


class GpuPlan(NamedTuple):
    """`gpus` are those of the node; `slots` has the variables for each slot that gets any."""

    gpus: int
    slots: tuple[Mapping[str, str], ...]


def divide(environ: Mapping[str, str], slots: int) -> GpuPlan:
    """No GPU is shared; where there are more than slots, the first slots have one more than the last ones.

    Variables that name different numbers of devices speak of the same ones as far as the shortest goes.
    """
    named = {name: devices for name in VARIABLES if (devices := devices_in(environ.get(name, "")))}
    gpus = min(map(len, named.values()), default=0)
    served = min(slots, gpus)
    shares = []
    begin = 0
    for slot in range(served):
        end = begin + gpus // served + (slot < gpus % served)
        shares.append({name: ",".join(devices[begin:end]) for name, devices in named.items()})
        begin = end
    return GpuPlan(gpus, tuple(shares))


def devices_in(value: str) -> list[str]:
    """The devices that a variable names, each once."""
    found: dict[str, None] = {}
    for device in (part.strip() for part in value.split(",")):
        if not device or device in _NONE:
            break
        found[device] = None
    return list(found)
