"""What every context answers, and the arithmetic of slots that all share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from disbatch.core.errors import UsageError
from disbatch.core.model import NodeSpec

if TYPE_CHECKING:
    from fractions import Fraction


@dataclass(frozen=True, slots=True)
class NodeShare:
    """What a context was given on one node."""

    name: str
    cores: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """The nodes that get an engine, what the user should be warned of, the label of the context, and what starts
    engines: "ssh" (and directly on localhost) or "slurm"."""

    nodes: tuple[NodeSpec, ...]
    warnings: tuple[str, ...]
    label: str
    launcher: Literal["ssh", "slurm"] = "ssh"


def allocate(
    shares: list[NodeShare], cores_per_task: "Fraction | int", tasks_per_node: int | None, label: str
) -> Allocation:
    """Slots for each node: as many tasks as its cores hold at `cores_per_task`, at most `tasks_per_node`.

    Raises UsageError with the arithmetic when no node has a slot.
    """
    nodes: list[NodeSpec] = []
    warnings: list[str] = []
    without: list[str] = []
    told = max(1, int(cores_per_task))
    for share in shares:
        fitting = int(share.cores // cores_per_task)
        if fitting == 0:
            without.append(
                f"{share.name}: {share.cores} cores / {_number(cores_per_task)} per task = 0 slots"
            )
            continue
        slots = fitting
        if tasks_per_node is not None:
            if tasks_per_node > fitting:
                warnings.append(
                    f"{share.name}: -t {tasks_per_node} is more than {share.cores} cores / "
                    f"{_number(cores_per_task)} per task allow: {fitting} tasks at a time"
                )
            slots = min(fitting, tasks_per_node)
        nodes.append(NodeSpec(share.name, slots, share.cores, told))
    if not nodes:
        raise UsageError(f"no node has a slot: {'; '.join(without)}. Give more cores, or a smaller -c")
    if without:
        warnings.append(f"nodes without a slot are not used: {'; '.join(without)}")
    return Allocation(tuple(nodes), tuple(warnings), label)


def _number(value: "Fraction | int") -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"
