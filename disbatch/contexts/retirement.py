"""Giving nodes back to the batch system: which nodes are due, and what the command that gives them back is told.

Pure: `runtime.retire` runs the command. Which engine is no longer needed is decided in `core.retire`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_TOLD = ("NODE", "NODES", "ACTIVE", "RETIRED", "RETCODES", "DRIVER_NODE")


@dataclass(frozen=True, slots=True)
class GiveBack:
    """One call of the command: the nodes that it gives back, and its environment."""

    nodes: tuple[str, ...]
    environ: Mapping[str, str]


class NodePool:
    """The nodes of a context. A name that stands in `all_nodes` twice has two engines, and is free when both ended.

    The driver's own node is never given back: the driver would go with it. It need not be one of the nodes.
    """

    def __init__(self, all_nodes: Sequence[str], driver_node: str | None, environ: Mapping[str, str]) -> None:
        self._engines = Counter(all_nodes)
        self._driver_node = driver_node
        self._environ = {name: value for name, value in environ.items() if name not in _TOLD}
        if "SLURM_JOB_ID" in environ:
            self._environ.setdefault("SLURM_JOBID", environ["SLURM_JOB_ID"])
        self._codes: dict[str, int] = {}  # of engines that ended, by node, in the order of their ends
        self._gone: set[str] = set()  # given back

    def ended(self, node: str, code: int) -> None:
        """An engine has ended for good. Names of no node here are ignored."""
        if self._engines[node] > 0:
            self._engines[node] -= 1
            # of two engines on a node, the one that failed is the one to be told of
            self._codes[node] = code or self._codes.get(node, 0)

    def due(self) -> GiveBack | None:
        """What is to be given back now; None when nothing is, or when no node would be left, as the job then ends."""
        nodes = [n for n in self._codes if self._free(n) and n not in self._gone and n != self._driver_node]
        active = [n for n, engines in self._engines.items() if engines > 0]
        keeps_driver = self._driver_node is not None and self._driver_node not in active
        if not nodes or not (active or keeps_driver):
            return None
        named = ",".join(nodes)
        environ = {
            **self._environ,
            "NODE": named,
            "NODES": named,
            "ACTIVE": ",".join(active),
            "RETIRED": ",".join(n for n in self._codes if self._free(n)),
            "RETCODES": ",".join(str(self._codes[n]) for n in nodes),
        }
        if keeps_driver:
            assert self._driver_node is not None
            environ["DRIVER_NODE"] = self._driver_node
        return GiveBack(tuple(nodes), environ)

    def given_back(self, nodes: Sequence[str]) -> None:
        """The batch system has these again."""
        self._gone.update(nodes)

    def _free(self, node: str) -> bool:
        return self._engines[node] == 0


def driver_node(environ: Mapping[str, str], hostname: str, nodes: Sequence[str]) -> str | None:
    """The node of the job that this process runs on: what Slurm calls it, else a node of this host's name, or None.

    It need not be one of `nodes`, where it has no slot: to give it back would be the end of the driver all the same.
    """
    named = environ.get("SLURMD_NODENAME")
    if named:
        return named
    short = hostname.split(".", maxsplit=1)[0]
    return next((node for node in nodes if node in (hostname, short)), None)


def leftovers(job_id: str) -> tuple[str, ...]:
    """Scripts that scontrol leaves in the working folder when it shrinks the job that it runs in."""
    return tuple(f"slurm_job_{job_id}_resize.{ending}" for ending in ("sh", "csh"))
