"""What every scheduler must answer, and the arithmetic of slots that all share.

A scheduler is what machines come from: Slurm, ssh, or what somebody adds. It runs nothing: where it has to ask a program,
it says which (`questions`) and gets what that printed.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from disbatch.core.binding import NO_BINDING, BindRule
from disbatch.core.errors import UsageError
from disbatch.core.model import NodeSpec
from disbatch.core.plural import counted

if TYPE_CHECKING:
    from fractions import Fraction

_NOT_IN_NAMES = frozenset("'`\"\\$;&<>|(){},/")
NAMED = 3  # nodes in one warning


def is_node_name(name: str) -> bool:
    """Whether ssh or srun can be given this name. It must not be taken for an option, and neither by a shell (the user's
    ProxyCommand may have it) nor in a list of names for more than one name."""
    user, at, host = name.rpartition("@")
    bad = any(not c.isprintable() or c.isspace() or c in _NOT_IN_NAMES for c in name)
    return bool(host) and not (bad or name.startswith("-") or host.startswith("-") or (at and not user))


@dataclass(frozen=True, slots=True)
class NodeShare:
    """What a context was given on one node."""

    name: str
    cores: int  # that tasks may use
    owned: int = 0  # all that were given here, where that is more
    confined: bool = False  # by a batch system, where it does such things: see `BindRule`


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the options of a context say about its use. `cores_per_task` and `tasks_per_node` are None when not given."""

    hosts: tuple[str, ...] = ()  # -s, as given
    own: frozenset[str] = frozenset()  # names among the hosts that are this machine
    cores_per_task: "Fraction | None" = None
    tasks_per_node: int | None = None
    fill: bool = False
    bind: bool = True  # tasks to the cores of their slot, where these are the run's own
    gpus: bool = False  # to be divided among the slots


@dataclass(frozen=True, slots=True)
class Allocation:
    """The nodes that get an engine, and what the user should be warned of."""

    nodes: tuple[NodeSpec, ...]
    warnings: tuple[str, ...]


class Scheduler(ABC):
    """One kind of machines. Pure: environment mapping and wishes in, values out."""

    name: ClassVar[str]
    logs_in: ClassVar[bool] = (
        False  # its launcher begins a login on the node, which prints `launchwords.REACHED`
    )
    task_drops: ClassVar[tuple[str, ...]] = ()  # beginnings of the names that tasks must not inherit

    @abstractmethod
    def here(self, environ: Mapping[str, str], wishes: Wishes) -> bool:
        """Whether this scheduler has given, or was told, something to run on."""

    @abstractmethod
    def label(self, environ: Mapping[str, str]) -> str:
        """What its context is called unless the user says otherwise."""

    def questions(self, environ: Mapping[str, str], wishes: Wishes) -> dict[str, tuple[str, ...]]:
        """Commands whose output `allocate` needs, by name. Raises UsageError when the environment makes no sense."""
        return {}

    @abstractmethod
    def allocate(
        self, environ: Mapping[str, str], wishes: Wishes, answers: Mapping[str, str | None]
    ) -> Allocation:
        """The nodes with their slots. An answer is what the command printed, None when it could not be had.

        Raises UsageError, one line, for the user.
        """

    def retire_command(self, environ: Mapping[str, str]) -> str:
        """The shell command that gives nodes back while the run goes on; empty: none is given back.

        What it is told stands in `contexts.retirement`.
        """
        return ""

    def host_names(self, environ: Mapping[str, str], wishes: Wishes) -> tuple[str, ...]:
        """Names of hosts that may be this machine, whoever asks has to find out: see `Wishes.own`. Raises UsageError."""
        return ()

    def is_local(self, node: str) -> bool:
        """Whether the engine of this node is started directly, without a launcher."""
        return False

    @abstractmethod
    def launch_argv(self, node: NodeSpec, folder: str, engine: Sequence[str]) -> tuple[str, ...]:
        """The command that runs `engine` on a node, in a folder that all nodes see."""

    def launch_environ(self, environ: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
        """The environment of that command; `extra` is what the user adds (see the scheduler's own page)."""
        return {**environ, **extra}

    def task_environ(self, environ: Mapping[str, str], node: NodeSpec) -> dict[str, str]:
        """What tasks on this node get beside the engine's own environment."""
        return {}

    def task_file(self, environ: Mapping[str, str], node: NodeSpec) -> tuple[str, str]:
        """A variable of these tasks that has the path of a file, and the text that is in it; two empty ones: none."""
        return "", ""


def allocate(
    shares: list[NodeShare],
    cores_per_task: "Fraction | int | None",
    tasks_per_node: int | None,
    *,
    bind: bool = False,
    gpus: bool = False,
) -> Allocation:
    """Slots for each node: as many tasks as its cores hold at `cores_per_task`, at most `tasks_per_node`. Where only the latter is
    given, that many, and each has an equal share of the cores; where neither is, a slot for each core.

    With `bind`, tasks are to stay on CPUs of their slot, unless several of them are to share one. Raises UsageError with the
    arithmetic when no node has a slot.
    """
    least = cores_per_task or 1
    nodes: list[NodeSpec] = []
    without: list[str] = []
    cut: dict[tuple[int, int], list[str]] = {}  # by cores and tasks that fit: names of nodes where -t is more
    for share in shares:
        if not is_node_name(share.name):
            raise UsageError(
                f"{share.name!r} cannot be the name of a node; see what the scheduler says, or the list of hosts"
            )
        fitting = int(share.cores // least)
        if fitting == 0:
            without.append(
                f"{share.name}: {counted(share.cores, 'core')} / {_number(least)} per task = 0 slots"
            )
            continue
        slots = min(fitting, tasks_per_node or fitting)
        if slots < (tasks_per_node or 0):
            cut.setdefault((share.cores, fitting), []).append(share.name)
        divided = cores_per_task is None and tasks_per_node is not None
        cores = share.cores // slots if divided else least
        need = math.ceil(cores) if bind and cores >= 1 else 0
        rule = BindRule(need, max(share.owned, share.cores), share.confined) if need else NO_BINDING
        told = max(1, int(cores))
        nodes.append(NodeSpec(share.name, slots, share.cores, told, rule, gpus=0 if gpus else None))
    if not nodes:
        raise UsageError(f"no node has a slot: {'; '.join(without)}. Give more cores, or a smaller -c")
    warnings = [
        f"{some(names)}: -t {tasks_per_node} is more than {counted(cores, 'core')} / "
        f"{_number(least)} per task allow: {counted(fitting, 'task')} at a time"
        for (cores, fitting), names in cut.items()
    ]
    if without:
        warnings.append(f"nodes without a slot are not used: {'; '.join(without)}")
    return Allocation(tuple(nodes), tuple(warnings))


def some(names: Sequence[str]) -> str:
    """The first few of many names, and how many more there are."""
    more = len(names) - NAMED
    return ", ".join(names) if more <= 1 else f"{', '.join(names[:NAMED])} and {more} more nodes"


def _number(value: "Fraction | int") -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):g}"
