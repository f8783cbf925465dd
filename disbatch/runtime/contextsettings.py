"""The settings of a context: from parsed options and the environment to nodes with slots, and how engines get there.

The driver has them for its own context, and each process that adds machines to a run for its own.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from disbatch.contexts import slurm
from disbatch.contexts.base import Allocation, Scheduler, Wishes
from disbatch.contexts.jobend import check_drain
from disbatch.contexts.slurmstep import not_the_first
from disbatch.contexts.ssh import Ssh
from disbatch.contexts.table import choose
from disbatch.core.context import label_fault
from disbatch.core.errors import PackageMissingError, UsageError
from disbatch.packages import install_command
from disbatch.runtime.ownhost import is_this_machine

CALL_S = 30.0  # a controller that is busy answers late; one that is gone, never
NO_NODES = Allocation((), ())


@dataclass(frozen=True, slots=True)
class ContextSettings:
    """One set of machines and what it is to be used for."""

    scheduler: Scheduler
    allocation: Allocation
    label: str
    label_given: bool  # by the user: then another context of that name is an error
    task_limit: int  # -C; 0: no limit
    launcher_environ: Mapping[str, str]  # what the user adds to the environment of launchers
    drain_before_s: float | None = None  # nothing is started so long before the end of the job
    retire_command: str = ""  # shell command that gives nodes back; empty: none is given back


def context_settings(options: argparse.Namespace, environ: Mapping[str, str]) -> ContextSettings:
    """What the context options and the environment give. Raises UsageError, one line, for the user."""
    check_drain(options.drain_before, environ)
    wishes = Wishes(
        tuple(options.ssh_node or ()),
        frozenset(),
        options.cpus_per_task,
        options.tasks_per_node,
        options.fill,
        not options.no_bind,
        options.gpu,
    )
    scheduler = choose(environ, wishes)
    if scheduler is None:
        count = os.cpu_count() or 1
        raise UsageError(
            f"nothing to run on: say how many cores may be used, for example -s localhost:{count}"
        )
    own = frozenset(filter(is_this_machine, scheduler.host_names(environ, wishes)))
    wishes = replace(wishes, own=own)
    answers = {name: ask(argv) for name, argv in scheduler.questions(environ, wishes).items()}
    try:
        allocation = scheduler.allocate(environ, wishes, answers)
    except PackageMissingError as error:
        raise UsageError(f"{error}: {install_command([error.module])}") from None
    label = options.label or scheduler.label(environ)
    if fault := label_fault(label):
        raise UsageError(fault)
    limit = options.context_task_limit or 0
    return ContextSettings(
        scheduler,
        allocation,
        label,
        options.label is not None,
        limit,
        _launcher_environ(scheduler, environ),
        options.drain_before,
        _retire_command(options, scheduler, environ),
    )


def left_to_another(options: argparse.Namespace, environ: Mapping[str, str]) -> str:
    """Why this process has nothing to do, as another one does it all; empty where it has. With -s each is on its own."""
    return "" if options.ssh_node else not_the_first(environ)


def no_context(options: argparse.Namespace) -> ContextSettings:
    """Of a run that starts without machines and waits for some."""
    return ContextSettings(Ssh(), NO_NODES, "", False, 0, {})


def _launcher_environ(scheduler: Scheduler, environ: Mapping[str, str]) -> Mapping[str, str]:
    """The user's additions to the environment of srun. Raises UsageError when the file cannot be read."""
    path = environ.get(slurm.OPTIONS_FILE_VARIABLE)
    if not path or not isinstance(scheduler, slurm.Slurm):
        return {}
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return slurm.options_file(file.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{slurm.OPTIONS_FILE_VARIABLE}={path}: {error}") from None


def _retire_command(options: argparse.Namespace, scheduler: Scheduler, environ: Mapping[str, str]) -> str:
    if options.no_retire:
        return ""
    if options.retire_cmd is not None:
        return str(options.retire_cmd).strip()
    return scheduler.retire_command(environ)


def ask(argv: tuple[str, ...], seconds: float = CALL_S) -> str | None:
    """What a program of the scheduler prints; None when it is missing, fails or does not answer."""
    import subprocess  # 8 ms, for those who have a scheduler to ask

    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=True)
        return done.stdout
    except (OSError, subprocess.SubprocessError):
        return None
