"""The Slurm context: the nodes of the job that disBatch runs in, and `srun` as what starts an engine on each.

Pure: the environment comes in as a mapping, the expanded node list as a list. What was measured about `srun` stands
beside each option.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from disbatch.contexts.base import Allocation, NodeShare, Scheduler, Wishes, allocate
from disbatch.contexts.slurmgpus import gpus_by_node
from disbatch.contexts.slurmstep import in_step, of_job
from disbatch.core.errors import PackageMissingError, UsageError
from disbatch.core.model import NodeSpec
from disbatch.core.plural import counted

if TYPE_CHECKING:
    from fractions import Fraction

JOB_VARIABLE = "SLURM_JOB_ID"
HET_SIZE_VARIABLE = "SLURM_HET_SIZE"
# Without a list of nodes the job would lose them all: the driver's own comes first where it has no engine left.
_KEPT_NODES = 'NodeList="${DRIVER_NODE:+$DRIVER_NODE,}$ACTIVE"'
RETIRE_COMMAND = f'scontrol update JobId="$SLURM_JOBID" {_KEPT_NODES}'
# The id of one job of an array stands for the whole array.
RETIRE_ARRAY_COMMAND = f'scontrol update JobId="${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID" {_KEPT_NODES}'
OPTIONS_FILE_VARIABLE = "DISBATCH_SLURM_SRUN_OPTIONS_FILE"

# What srun may know of the job; any other variable of Slurm is an option in disguise: leaked bindings kill the steps
# of tasks, leaked GPU requests make the launch fail.
_LAUNCH_KEEPS = frozenset(
    ("SLURM_CONF", "SLURM_JOB_ID", "SLURM_JOBID", "SLURM_CLUSTER_NAME", "SLURM_WORKING_CLUSTER")
)
_LAUNCH_DROPS = ("SLURM_", "SBATCH_", "SALLOC_", "SRUN_")
# What a task must not inherit from the step that its engine runs in, or its own srun would think itself inside it.
_TASK_DROPS = (
    "SLURM_STEP",
    "SLURM_CPU_BIND",
    "SLURM_MEM_BIND",
    "SLURM_SRUN_COMM_",
    "SLURM_LAUNCH_NODE_IPADDR",
    "SLURM_PROCID",
    "SLURM_LOCALID",
    "SLURM_GTIDS",
    "SLURM_TASK_PID",
    "PMI",
    # and what binds, counts or numbers the processes of a job that is larger than a task
    "SLURM_NTASKS_PER_",
    "SLURM_DIST",
    "SLURM_HOSTFILE",
    "SLURM_ARBITRARY_NODELIST",
    "SLURM_HINT",
    "SLURM_GPU_BIND",
    "SLURM_TOPOLOGY_ADDR",
    "SLURM_SPREAD_JOB",
    "SLURM_USE_MIN_NODES",
    "SLURM_OVERCOMMIT",
    "SLURM_TRES_PER_TASK",
)
_JOB_PREFIXES = ("SLURM_", "SBATCH_", "SALLOC_")
_REPEATED = re.compile(r"([0-9]+)(?:\(x([0-9]+)\))?\Z")


def in_job(environ: Mapping[str, str]) -> bool:
    """Whether this is a Slurm job (or a shell of salloc)."""
    return bool(environ.get(JOB_VARIABLE))


def restarts(environ: Mapping[str, str]) -> int:
    """How often the job was requeued."""
    count = environ.get("SLURM_RESTART_COUNT", "")
    return int(count) if count.isdigit() else 0


def node_list(environ: Mapping[str, str]) -> str:
    """The job's nodes in Slurm's own notation. Raises UsageError when the environment has none."""
    text = environ.get("SLURM_JOB_NODELIST") or environ.get("SLURM_NODELIST")
    if not text:
        raise UsageError(
            "this looks like a Slurm job (SLURM_JOB_ID is set), but SLURM_JOB_NODELIST is not there;"
            " -s HOST:COUNT takes no notice of Slurm"
        )
    return text


def components(environ: Mapping[str, str]) -> list[Mapping[str, str]]:
    """The variables of each component of a heterogeneous job, by their usual names; those of any other job as they are."""
    size = environ.get(HET_SIZE_VARIABLE, "")
    if not size.isdigit():
        return [environ]
    found: list[Mapping[str, str]] = []
    for number in range(int(size)):
        suffix = f"_HET_GROUP_{number}"
        found.append({k.removesuffix(suffix): v for k, v in environ.items() if k.endswith(suffix)})
    return found


def counts(text: str, variable: str) -> list[int]:
    """`4(x2),3` as [4, 4, 3]. Raises UsageError that names the variable."""
    values: list[int] = []
    for item in text.split(","):
        match = _REPEATED.match(item.strip())
        if match is None:
            raise UsageError(f"{variable}={text}: not a list of counts like 4(x2),3")
        values += [int(match[1])] * int(match[2] or 1)
    return values


def shares(
    environ: Mapping[str, str], nodes: Sequence[str], cores_per_task: "Fraction | None", *, fill: bool
) -> "tuple[list[NodeShare], Fraction | int, list[str]]":
    """For each node the cores that tasks may use; the cores for each task; what the user should know.

    A node's cores are its number of Slurm tasks times the CPUs for each (so that `-n 20 --ntasks-per-node 5` is 5 slots
    on each of 4 nodes), with `fill` all that the job has there. `cores_per_task` is disBatch's -c, None when not given:
    then Slurm's own -c holds. Raises UsageError when the lists do not fit.
    """
    given = environ.get("SLURM_CPUS_PER_TASK", "")
    slurm_cores = int(given) if given.isdigit() and int(given) > 0 else 1
    tasks = counts(environ.get("SLURM_TASKS_PER_NODE", "1"), "SLURM_TASKS_PER_NODE")
    cpus = counts(environ.get("SLURM_JOB_CPUS_PER_NODE", ""), "SLURM_JOB_CPUS_PER_NODE")
    if len(tasks) == 1:
        tasks *= len(nodes)
    if not len(nodes) == len(tasks) == len(cpus):
        raise UsageError(
            f"SLURM_JOB_NODELIST has {counted(len(nodes), 'node')}, SLURM_TASKS_PER_NODE {len(tasks)}, "
            f"SLURM_JOB_CPUS_PER_NODE {len(cpus)}: they do not fit together"
        )
    warnings: list[str] = []
    # a number of tasks says how many CPUs each is to have, too: one, where -c of Slurm says nothing else
    asked_for = given or environ.get("SLURM_NTASKS")
    if cores_per_task is not None and asked_for and cores_per_task != slurm_cores:
        warnings.append(
            f"-c {float(cores_per_task):g} of disBatch and {counted(slurm_cores, 'CPU')} "
            f"per task of Slurm differ: {float(cores_per_task):g} holds"
        )
    rows = []
    for name, task_count, cpu_count in zip(nodes, tasks, cpus, strict=True):
        asked = task_count * slurm_cores
        rows.append(NodeShare(name, max(asked, cpu_count) if fill else asked, cpu_count, confined=True))
    return rows, cores_per_task or slurm_cores, warnings


def launch_argv(node: NodeSpec, engine: Sequence[str]) -> tuple[str, ...]:
    """The command that runs `engine` on a node of the job.

    --overlap: without it a task's own srun waits for ever. --mem=0: all memory of the job there. --cpu-bind=none: all
    its CPUs; --exact or -c would take some away. --gpus: exactly those that the job has there; one more is refused.
    """
    options = ("--quiet", "--export=ALL", "--overlap", "--mem=0", "--cpu-bind=none", "-N1", "-n1")
    component = () if node.part is None else (f"--het-group={node.part}",)
    gpus = (f"--gpus={node.gpus}",) if node.gpus else ()
    return ("srun", *options, *component, *gpus, "-w", node.name, *engine)


def launch_environ(environ: Mapping[str, str], options: Mapping[str, str]) -> dict[str, str]:
    """The environment of srun; `options` are the user's own, from the file that DISBATCH_SLURM_SRUN_OPTIONS_FILE names."""
    kept = {k: v for k, v in environ.items() if k in _LAUNCH_KEEPS or not k.startswith(_LAUNCH_DROPS)}
    return {**kept, **options}


def options_file(text: str, path: str) -> dict[str, str]:
    """The `NAME=VALUE` lines of the user's options file. Raises UsageError that names file and line."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        name, equals, value = bare.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"{path}, line {number}: NAME=VALUE is needed: {line}")
        found[name] = value
    return found


def job_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """What a task gets of the job's own variables: all that the driver had, not those of the engine's step."""
    return {k: v for k, v in environ.items() if k.startswith(_JOB_PREFIXES) and not k.startswith(_TASK_DROPS)}


def one_process(node: NodeSpec) -> dict[str, str]:
    """The variables by which a task looks like a job of one process on its own node.

    Frameworks that look for Slurm then work alone, and srun starts one process. SLURM_CPUS_PER_TASK is no option of srun since
    22.05, which wants SRUN_CPUS_PER_TASK: that is left to the user, as it would keep a second srun on the node waiting.
    """
    cores = str(node.cores_per_task)
    ones = ("NTASKS", "NPROCS", "NNODES", "JOB_NUM_NODES", "TASKS_PER_NODE")
    zeros = ("PROCID", "LOCALID", "NODEID")
    return {
        **{f"SLURM_{name}": "1" for name in ones},
        **{f"SLURM_{name}": "0" for name in zeros},
        **{f"SLURM_{name}": cores for name in ("CPUS_PER_TASK", "CPUS_ON_NODE", "JOB_CPUS_PER_NODE")},
        "SLURM_NODELIST": node.name,
        "SLURM_JOB_NODELIST": node.name,
    }


def names_in(text: str, printed: str | None) -> list[str]:
    """The names in a node list of Slurm: what scontrol made of it, else by python-hostlist. Raises UsageError."""
    if printed is not None:
        return printed.split()
    try:
        from hostlist import expand_hostlist
    except ImportError:
        what = f"the node list {text} cannot be expanded: scontrol does not work here, and the package that does it without"
        raise PackageMissingError(what, "hostlist") from None
    names: list[str] = expand_hostlist(text)
    return names


def with_gpus(allocation: Allocation, details: str | None) -> Allocation:
    """Each node with the number of its GPUs; nodes without any are left out.

    Where the job has none at all, as far as Slurm knows, they may be there all the same: engines look for themselves.
    """
    counts = gpus_by_node(details or "", [node.name for node in allocation.nodes])
    if not any(counts.values()):
        return allocation
    nodes = tuple(node._replace(gpus=counts[node.name]) for node in allocation.nodes if counts[node.name])
    bare = ", ".join(name for name, count in counts.items() if not count)
    extra = (f"-g: the job has no GPU on {bare}, no task runs there",) if bare else ()
    return dataclasses.replace(allocation, nodes=nodes, warnings=(*allocation.warnings, *extra))


def _tasks_differ(environ: Mapping[str, str], ours: int | None, allocation: Allocation) -> list[str]:
    """A warning where -t and --ntasks-per-node differ and -t holds; where cores do, `allocate` has said so."""
    theirs = environ.get("SLURM_NTASKS_PER_NODE", "")
    holds = any(node.slots == ours for node in allocation.nodes)
    if ours is None or not theirs.isdigit() or int(theirs) == ours or not holds:
        return []
    return [f"-t {ours} of disBatch and --ntasks-per-node={theirs} of Slurm differ: {ours} holds"]


class Slurm(Scheduler):
    """The job, or the shell of salloc, that this process is in."""

    name = "slurm"
    task_drops = _TASK_DROPS

    def here(self, environ: Mapping[str, str], wishes: Wishes) -> bool:
        return in_job(environ)

    def label(self, environ: Mapping[str, str]) -> str:
        return f"J{environ[JOB_VARIABLE]}"

    def questions(self, environ: Mapping[str, str], wishes: Wishes) -> dict[str, tuple[str, ...]]:
        parts = components(environ)
        asked: dict[str, tuple[str, ...]] = {
            f"nodes {n}": ("scontrol", "show", "hostnames", node_list(p)) for n, p in enumerate(parts)
        }
        if in_step(environ) and len(parts) == 1:
            asked["job"] = ("scontrol", "show", "job", environ[JOB_VARIABLE])
        if wishes.gpus:
            asked["details"] = ("scontrol", "show", "job", "--details", environ[JOB_VARIABLE])
        return asked

    def allocate(
        self, environ: Mapping[str, str], wishes: Wishes, answers: Mapping[str, str | None]
    ) -> Allocation:
        parts = components(environ)
        if len(parts) == 1:
            names, job = answers.get("nodes 0"), answers.get("job")
            if job:
                cpus = counts(environ.get("SLURM_JOB_CPUS_PER_NODE", ""), "SLURM_JOB_CPUS_PER_NODE")
                environ = of_job(environ, names_in(node_list(environ), names), cpus, job)
            return self._component(environ, wishes, names, answers.get("details"))
        nodes: list[NodeSpec] = []
        said: list[str] = []
        for number, part in enumerate(parts):
            try:
                names, details = answers.get(f"nodes {number}"), answers.get("details")
                found = self._component(part, wishes, names, details)
            except UsageError as error:  # the others may do
                said.append(f"component {number} of the job: {error}")
                continue
            nodes += [node._replace(part=number) for node in found.nodes]
            said += [f"component {number} of the job: {warning}" for warning in found.warnings]
        if not nodes:
            raise UsageError("; ".join(said))
        return Allocation(tuple(nodes), tuple(said))

    def _component(
        self, environ: Mapping[str, str], wishes: Wishes, names: str | None, details: str | None
    ) -> Allocation:
        nodes = names_in(node_list(environ), names)
        # -t alone divides the node, whatever number of tasks, and of cores for each, the job was submitted with
        divides = wishes.cores_per_task is None and wishes.tasks_per_node is not None
        found, cores, warnings = shares(environ, nodes, wishes.cores_per_task, fill=wishes.fill or divides)
        allocation = allocate(
            found, None if divides else cores, wishes.tasks_per_node, bind=wishes.bind, gpus=wishes.gpus
        )
        warnings += _tasks_differ(environ, wishes.tasks_per_node, allocation)
        allocation = dataclasses.replace(allocation, warnings=(*warnings, *allocation.warnings))
        return with_gpus(allocation, details) if wishes.gpus else allocation

    def retire_command(self, environ: Mapping[str, str]) -> str:
        if HET_SIZE_VARIABLE in environ:
            return ""  # several jobs, none of which can lose its last node before the others do
        return RETIRE_ARRAY_COMMAND if "SLURM_ARRAY_TASK_ID" in environ else RETIRE_COMMAND

    def launch_argv(self, node: NodeSpec, folder: str, engine: Sequence[str]) -> tuple[str, ...]:
        return launch_argv(node, engine)

    def launch_environ(self, environ: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
        return launch_environ(environ, extra)

    def task_environ(self, environ: Mapping[str, str], node: NodeSpec) -> dict[str, str]:
        return job_environ(environ) | one_process(node)

    def task_file(self, environ: Mapping[str, str], node: NodeSpec) -> tuple[str, str]:
        # Without -w, srun takes the first nodes of the job, and no other variable keeps it on this one. As many processes
        # can be asked for as there are lines.
        several = HET_SIZE_VARIABLE not in environ and environ.get("SLURM_JOB_NUM_NODES", "1") != "1"
        return ("SLURM_HOSTFILE", f"{node.name}\n" * node.cores_per_task) if several else ("", "")
