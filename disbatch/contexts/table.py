"""The schedulers that are tried, in this order. A new one is a file beside this and a row here."""

from collections.abc import Mapping

from disbatch.contexts.base import Scheduler, Wishes
from disbatch.contexts.slurm import Slurm
from disbatch.contexts.ssh import Ssh

SCHEDULERS: tuple[Scheduler, ...] = (Slurm(), Ssh())


def choose(environ: Mapping[str, str], wishes: Wishes) -> Scheduler | None:
    """The scheduler that has something to run on; hosts that were named come before all else (formats: Contexts)."""
    if wishes.hosts:
        return Ssh()
    return next((s for s in SCHEDULERS if s.here(environ, wishes)), None)
