"""disBatch that was started by `srun`: it is in a step of the job, whose variables speak of the step and not of the job.

Pure. The job's nodes and the CPUs on each stand in the environment all the same; how many tasks were asked for, Slurm is asked.
"""

import re
from collections.abc import Mapping, Sequence

_STEP = "SLURM_STEP_ID"
_WORD = re.compile(r"(\S+?)=(\S*)")


def in_step(environ: Mapping[str, str]) -> bool:
    """Whether this process was started by srun. So are shells of salloc, where Slurm is set up for that."""
    return bool(environ.get(_STEP))


def not_the_first(environ: Mapping[str, str]) -> str:
    """What one of several processes of a step has to say before it leaves the work to the first; empty for the first."""
    number, count = environ.get("SLURM_PROCID", ""), environ.get("SLURM_STEP_NUM_TASKS", "")
    if not in_step(environ) or not number.isdigit() or int(number) == 0:
        return ""
    return (
        f"process {number} of {count or 'several'} that srun has started: the first one does all the work, "
        "with all nodes of the job; start disBatch without srun, or with srun -n1"
    )


def of_job(
    environ: Mapping[str, str], nodes: Sequence[str], cpus: Sequence[int], said: str
) -> Mapping[str, str]:
    """The environment as a batch script of the job would have it. `said` is what `scontrol show job` prints.

    Tasks are counted as Slurm spreads them by default: each node in turn has as many as its CPUs hold.
    """
    words = dict(_WORD.findall(said))
    each = _number(words.get("CPUs/Task", ""))
    left = _number(words.get("NumTasks", ""))
    most = _number(words.get("NtasksPerN:B:S:C", "").partition(":")[0])
    if not left:
        return environ
    tasks = []
    for _, count in zip(nodes, cpus, strict=False):
        fitting = max(1, count // (each or 1))
        tasks.append(max(1, min(fitting, most or fitting, left)))
        left -= tasks[-1]
    changed = {"SLURM_TASKS_PER_NODE": ",".join(map(str, tasks)), "SLURM_NTASKS": words["NumTasks"]}
    if each > 1:
        changed["SLURM_CPUS_PER_TASK"] = str(each)
    return {**environ, **changed}


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0
